/**
 * What the command line and the daemon say to each other: each method's parameters, events and result, typed
 * here and validated at both ends. The transport is protocol.ts; who may call what is access.ts.
 */
import {
  amount,
  flag,
  integer,
  json,
  list,
  map,
  nullable,
  object,
  oneOf,
  text,
  variant,
  type Json,
  type Shape,
} from '../base/shape.js';

/** Where the daemon keeps its state: socket, journal, lock, log. In /run: gone after a reboot, as its changes are. */
export const RUN_DIR = '/run/cz';
/** The daemon's socket: mode 0666, every caller's uid is checked. */
export const CONTROL_SOCKET = `${RUN_DIR}/cz.sock`;
/** The journal of undo actions. */
export const JOURNAL_PATH = `${RUN_DIR}/journal`;
/** The daemon's log, readable by the user who connected; `.1` is the one before. */
export const LOG_PATH = `${RUN_DIR}/daemon.log`;

/** The user on whose behalf cz acts; the same as `Invoker` of base/invoker.ts. */
interface InvokerParams {
  readonly uid: number;
  readonly gid: number;
  readonly user: string;
  readonly home: string;
  readonly env: Readonly<Record<string, string>>;
}

/** What `cz connect` asks for. Paths are absolute; only root may send it (access.ts). */
export interface ConnectParams {
  readonly invoker: InvokerParams;
  /** `--kubeconfig`, absolute. */
  readonly kubeconfig?: string;
  readonly context?: string;
  /** `-n`: empty means the context's own. */
  readonly namespaces: readonly string[];
  /** CIDRs or host names. */
  readonly alsoRoute: readonly string[];
  /** CIDRs or host names. */
  readonly neverRoute: readonly string[];
  readonly managerNamespace: string;
  /** `wss://…` or `ws://…`: instead of the API server's pod proxy. */
  readonly managerUrl?: string;
  /** Put the manager there when it is missing. */
  readonly install: boolean;
  readonly image?: string;
}

/**
 * What a long call tells on its way. `step` lines come in pairs: `started`, then `done` with the same `step`
 * (a failed step's error is the call's error). A `warning` is shown also with `-q`.
 */
export type ProgressEvent =
  | { readonly kind: 'started'; readonly step: string; readonly text: string }
  | { readonly kind: 'done'; readonly step: string; readonly text: string; readonly tookMs: number }
  | { readonly kind: 'warning'; readonly text: string; readonly hint?: string };

export interface ConnectResult {
  /** `connected`: new · `changed`: the same context, something differed · `unchanged`: nothing did. */
  readonly outcome: 'connected' | 'changed' | 'unchanged';
  /** What differed, a line each, for `changed`. */
  readonly changes: readonly string[];
  readonly status: Status;
}

export interface DisconnectResult {
  readonly wasConnected: boolean;
  readonly context: string | null;
  /** What could not be undone, a line each; empty when all was. */
  readonly leftovers: readonly string[];
}

export type SessionState = 'disconnected' | 'connecting' | 'connected' | 'reconnecting';

/** `cz status -o json`. Every key is there in every state; null or empty where there is nothing to say. */
export interface Status {
  readonly state: SessionState;
  readonly context: string | null;
  /** The API server's URL. */
  readonly server: string | null;
  /** Those whose Services answer by their bare name. */
  readonly namespaces: readonly string[];
  /** `since`: RFC 3339. */
  readonly session: { readonly id: string; readonly since: string } | null;
  readonly via: 'pod-proxy' | 'port-forward' | 'url' | null;
  readonly roundTripMs: number | null;
  readonly interface: {
    readonly name: string;
    readonly addresses: readonly string[];
    readonly mtu: number;
  } | null;
  /** CIDRs that go into the tunnel. */
  readonly routes: readonly string[];
  readonly dns: {
    readonly mechanism: string;
    readonly server: string;
    readonly zones: readonly string[];
  } | null;
  readonly manager: {
    readonly namespace: string;
    readonly pod: string;
    readonly version: string;
  } | null;
  readonly intercepts: readonly Json[];
  readonly exposes: readonly Json[];
  readonly mounts: readonly Json[];
  /** While reconnecting: since when the way is lost (RFC 3339), and why. */
  readonly lost: { readonly since: string; readonly reason: string } | null;
  /** Whose session it is. */
  readonly user: string | null;
  /** The daemon that answers; null when none runs. */
  readonly daemon: { readonly pid: number; readonly version: string } | null;
  readonly client: { readonly version: string };
}

export interface LogsResult {
  /** The daemon's log file; readable by the user who connected. */
  readonly path: string;
  /** The manager whose log is the other half. */
  readonly manager: { readonly namespace: string; readonly pod: string } | null;
}

/** One thing that doctor looked at. `found` says what is, `next` the user's next step. */
export interface Finding {
  readonly check: string;
  readonly state: 'ok' | 'warning' | 'failed' | 'skipped';
  readonly found: string;
  readonly next?: string;
}

export interface DoctorResult {
  readonly findings: readonly Finding[];
}

/** No parameters. */
type NoParams = Readonly<Record<string, never>>;

/** The methods, each with its parameters and result. All may send events. */
interface Methods {
  readonly connect: { readonly params: ConnectParams; readonly result: ConnectResult };
  /** The daemon ends itself after answering. */
  readonly disconnect: { readonly params: NoParams; readonly result: DisconnectResult };
  readonly status: { readonly params: NoParams; readonly result: Status };
  readonly logs: { readonly params: NoParams; readonly result: LogsResult };
  /** The checks that only the daemon can do: the way, the manager, the resolver, the routes. */
  readonly doctor: { readonly params: NoParams; readonly result: DoctorResult };
}

export type MethodName = keyof Methods;
export type ParamsOf<M extends MethodName> = Methods[M]['params'];
export type ResultOf<M extends MethodName> = Methods[M]['result'];

/** A Kubernetes name as the command line takes it; the cluster says the rest. */
const name = text(253, /^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$/);
const path = text(4096, /^\//);
const line = text(10_000);
const lines = list(line, 1000);
const cidrs = list(text(64), 10_000);
/** A CIDR or a host name; what it means is the planner's to say. */
const target = text(253, /^[A-Za-z0-9._/:-]+$/);
const time = text(40, /^\d{4}-\d\d-\d\dT/);
/** Environments: Linux limits argv and env together (execve(2)); a single string to 128 KiB. */
const environment = map(text(131_072), 5000);
const noParams: Shape<NoParams> = () => ({});

const connectParams: Shape<ConnectParams> = object(
  {
    invoker: object({ uid: integer(), gid: integer(), user: text(256), home: path, env: environment }),
    namespaces: list(name, 100),
    alsoRoute: list(target, 1000),
    neverRoute: list(target, 1000),
    managerNamespace: name,
    install: flag,
  },
  { kubeconfig: path, context: text(1024), managerUrl: text(2048, /^wss?:\/\//), image: text(1024) },
);

const status: Shape<Status> = object({
  state: oneOf('disconnected', 'connecting', 'connected', 'reconnecting'),
  context: nullable(line),
  server: nullable(line),
  namespaces: list(line, 1000),
  session: nullable(object({ id: line, since: time })),
  via: nullable(oneOf('pod-proxy', 'port-forward', 'url')),
  roundTripMs: nullable(amount),
  interface: nullable(object({ name: text(15), addresses: cidrs, mtu: integer(0, 65_535) })),
  routes: cidrs,
  dns: nullable(object({ mechanism: line, server: line, zones: list(line, 20_000) })),
  manager: nullable(object({ namespace: line, pod: line, version: line })),
  intercepts: list(json, 10_000),
  exposes: list(json, 10_000),
  mounts: list(json, 10_000),
  lost: nullable(object({ since: time, reason: line })),
  user: nullable(line),
  daemon: nullable(object({ pid: integer(), version: line })),
  client: object({ version: line }),
});

const finding: Shape<Finding> = object(
  { check: line, state: oneOf('ok', 'warning', 'failed', 'skipped'), found: line },
  { next: line },
);

/** The parameters' shape of each method. */
export const PARAMS: { readonly [M in MethodName]: Shape<ParamsOf<M>> } = {
  connect: connectParams,
  disconnect: noParams,
  status: noParams,
  logs: noParams,
  doctor: noParams,
};

/** The result's shape of each method. */
export const RESULTS: { readonly [M in MethodName]: Shape<ResultOf<M>> } = {
  connect: object({ outcome: oneOf('connected', 'changed', 'unchanged'), changes: lines, status }),
  disconnect: object({ wasConnected: flag, context: nullable(line), leftovers: lines }),
  status,
  logs: object({ path, manager: nullable(object({ namespace: line, pod: line })) }),
  doctor: object({ findings: list(finding, 1000) }),
};

/** The shape of a progress event. */
export const PROGRESS: Shape<ProgressEvent> = variant<ProgressEvent>('kind', {
  started: object({ kind: oneOf('started'), step: line, text: line }),
  done: object({ kind: oneOf('done'), step: line, text: line, tookMs: amount }),
  warning: object({ kind: oneOf('warning'), text: line }, { hint: line }),
});

/** Returns the status of a laptop on which nothing runs. `version` is that of the program that says so. */
export function disconnectedStatus(version: string): Status {
  return {
    state: 'disconnected',
    context: null,
    server: null,
    namespaces: [],
    session: null,
    via: null,
    roundTripMs: null,
    interface: null,
    routes: [],
    dns: null,
    manager: null,
    intercepts: [],
    exposes: [],
    mounts: [],
    lost: null,
    user: null,
    daemon: null,
    client: { version },
  };
}
