/**
 * What commands take when nothing else is said. The command line's contract.
 */

/** Where the manager lives. */
export const DEFAULT_MANAGER_NAMESPACE = 'cz-system';
