/**
 * Sends one datagram of random bytes to a UDP echo and prints whether it came back whole: `same`, `different` or
 * `silence`. Run on a laptop: node echo-client.mjs HOST PORT BYTES
 */
import { randomBytes } from 'node:crypto';
import { createSocket } from 'node:dgram';

const [host, port, size] = process.argv.slice(2);
const sent = randomBytes(Number(size));
const socket = createSocket('udp4');
const timer = setTimeout(() => end('silence'), 5000);

function end(word) {
  clearTimeout(timer);
  socket.close();
  console.log(word);
}

socket.on('message', (received) => end(received.equals(sent) ? 'same' : 'different'));
socket.send(sent, Number(port), host);
