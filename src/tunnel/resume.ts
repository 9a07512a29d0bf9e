/**
 * What an end tells of its streams when a session resumes, and its shape on the wire. PROTOCOL.md §7.
 */
import { integer, list, type Shape } from '../base/shape.js';
import { CzError } from '../base/errors.js';
import { ID_MAX, OFFSET_MAX, STREAMS_MAX } from './frame.js';

/**
 * The receiving side of a stream: id, bytes received, limit granted, state (a sum of STATE's). The one with
 * id 0 has as `received` the highest id of the peer's that was seen.
 */
export type ResumePoint = readonly [id: number, received: number, limit: number, state: number];

/** Parts of a resume point's state (PROTOCOL.md §7). */
export const STATE = { opened: 1, ended: 2 } as const;

/** Streams of both openers, and the entry with id 0. */
const POINTS_MAX = 2 * STREAMS_MAX + 1;

const id = integer(0, ID_MAX);
const offset = integer(0, OFFSET_MAX);
const state = integer(0, 3);

const point: Shape<ResumePoint> = (value, at = '') => {
  if (!Array.isArray(value) || value.length !== 4)
    throw new CzError('MALFORMED', `"${at}" is no resume point`);
  const [a, b, c, d]: unknown[] = value;
  return [id(a, at), offset(b, at), offset(c, at), state(d, at)];
};

/** A list of resume points as it stands in hello and welcome. */
export const resumePoints: Shape<readonly ResumePoint[]> = list(point, POINTS_MAX);
