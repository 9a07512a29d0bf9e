/**
 * A long conversation with a TCP echo: random bytes at an even pace until stdin ends, then the rest of the echo. Prints
 * how many bytes came back, a line each, and at the end `same` or `different` (by SHA-256), or the error's code. Run on a laptop:
 * node echo-transfer.mjs HOST PORT
 */
import { createHash, randomBytes } from 'node:crypto';
import { createConnection } from 'node:net';

const CHUNK_BYTES = 4096;
const EVERY_MS = 50;
const [host, port] = process.argv.slice(2);
const [sent, echoed] = [createHash('sha256'), createHash('sha256')];
let received = 0;

const socket = createConnection(Number(port), host);
const timer = setInterval(() => {
  const chunk = randomBytes(CHUNK_BYTES);
  sent.update(chunk);
  socket.write(chunk);
}, EVERY_MS);

socket.on('data', (data) => {
  echoed.update(data);
  received += data.length;
  console.log(received);
});
socket.on('end', () => end(sent.digest('hex') === echoed.digest('hex') ? 'same' : 'different'));
socket.on('error', (error) => end(error.code));
process.stdin.on('end', () => {
  clearInterval(timer);
  socket.end();
});
process.stdin.resume();

function end(word) {
  clearInterval(timer);
  console.log(word);
  process.exit();
}
