/**
 * A socket that reads into one buffer again and again (`onread` of net.Socket). Node offers that to sockets that dial;
 * an accepted one's handle moves into a new socket for it. Each chunk as a Buffer of its own is what makes V8 of Node 24
 * collect its whole heap at every 64 MiB received.
 */
import { Socket } from 'node:net';
import type { Duplex } from 'node:stream';

/** Read at once (our choice: several of the chunks that a relay writes). */
const READ_BYTES = 128 * 1024;

/** What Node keeps at `_handle`; its methods are those of its own streams. */
interface Handle {
  reading?: boolean;
  readStop(): number;
}

/**
 * Returns a socket in place of an accepted one, closed together with it; its `data` is valid during the event only.
 * The socket itself where that cannot be done: its handle is another thing, or something is read already.
 */
export function withReusedBuffer(accepted: Duplex): Duplex {
  if (!(accepted instanceof Socket) || accepted.destroyed || accepted.readableLength > 0) return accepted;
  const handle = takeHandle(accepted);
  if (handle === undefined) return accepted;
  const buffer = Buffer.allocUnsafeSlow(READ_BYTES);
  const socket: Socket = new Socket({
    // @ts-expect-error -- both are Node's own options of this constructor; its types name them for `connect` alone
    handle,
    onread: {
      buffer,
      callback: (bytes: number) => {
        socket.emit('data', buffer.subarray(0, bytes));
        return true;
      },
    },
  });
  accepted.once('close', () => socket.destroy());
  socket.once('close', () => accepted.destroy());
  return socket;
}

function takeHandle(socket: Socket): Handle | undefined {
  if (!('_handle' in socket) || !isHandle(socket._handle)) return undefined;
  const handle = socket._handle;
  handle.readStop();
  handle.reading = false;
  socket._handle = null;
  return handle;
}

function isHandle(value: unknown): value is Handle {
  return (
    typeof value === 'object' && value !== null && 'readStop' in value && typeof value.readStop === 'function'
  );
}
