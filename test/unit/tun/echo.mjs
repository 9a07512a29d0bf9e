/** What answers in the cluster's namespace: TCP and UDP on port 7, echoed. Prints a line when both listen. */
import { createSocket } from 'node:dgram';
import { createServer } from 'node:net';

const PORT = 7; // RFC 862

const datagrams = createSocket('udp4');
datagrams.on('message', (message, from) => datagrams.send(message, from.port, from.address));

createServer((socket) => socket.on('error', () => socket.destroy()).pipe(socket)).listen(PORT, () => {
  datagrams.bind(PORT, () => console.log('listening'));
});
