/** What the bench says: a line for each figure of the table, as a table and as JSON. Pure. */

/** What is wanted of a line: of its ratio to the direct path, or of the measured value itself. */
export interface Wanted {
  readonly of: 'ratio' | 'measured';
  readonly least?: number;
  readonly most?: number;
}

export interface Measurement {
  readonly what: string;
  readonly unit: string;
  readonly measured: number;
  /** The same on the direct path, in the same minute. */
  readonly direct?: number;
  readonly ratio?: number;
  readonly wanted: Wanted;
  /** What else was seen, in words. */
  readonly note?: string;
}

/** A line of the report; without `measurement`, what kept it from being measured. */
export interface Line {
  readonly figure: string;
  readonly ok: boolean;
  readonly measurement?: Measurement;
  readonly error?: string;
}

/** Returns the line of a measurement. */
export function judged(figure: string, measurement: Measurement): Line {
  const { wanted } = measurement;
  const value = wanted.of === 'ratio' ? measurement.ratio : measurement.measured;
  const { least = Number.NEGATIVE_INFINITY, most = Number.POSITIVE_INFINITY } = wanted;
  return { figure, ok: value !== undefined && value >= least && value <= most, measurement };
}

const HEAD = ['figure', 'what', 'measured', 'direct', 'ratio', 'wanted', 'ok', ''];

/** Returns the table, a line each, columns aligned. */
export function formatTable(lines: readonly Line[]): string {
  const rows = [HEAD, ...lines.map(cells)];
  const widths = HEAD.map((_, column) => Math.max(...rows.map((row) => row[column]?.length ?? 0)));
  return rows
    .map((row) =>
      row
        .map((cell, column) => cell.padEnd(widths[column] ?? 0))
        .join('  ')
        .trimEnd(),
    )
    .join('\n');
}

function cells({ figure, ok, measurement, error }: Line): string[] {
  const verdict = ok ? 'yes' : 'no';
  if (measurement === undefined) return [figure, `not measured: ${error ?? ''}`, '', '', '', '', verdict, ''];
  const { what, unit, measured, direct, ratio, wanted, note } = measurement;
  return [
    figure,
    what,
    `${round(measured)} ${unit}`,
    direct === undefined ? '' : `${round(direct)} ${unit}`,
    ratio === undefined ? '' : round(ratio),
    formatWanted(wanted, unit),
    verdict,
    note ?? '',
  ];
}

function formatWanted({ of, least, most }: Wanted, unit: string): string {
  const suffix = of === 'ratio' ? '' : ` ${unit}`;
  const parts = [
    least === undefined ? '' : `≥ ${round(least)}${suffix}`,
    most === undefined ? '' : `≤ ${round(most)}${suffix}`,
  ];
  return parts.filter(Boolean).join(', ');
}

/** Three digits, and no exponent. */
function round(value: number): string {
  if (Math.abs(value) >= 100) return Math.round(value).toString();
  return Number(value.toPrecision(3)).toString();
}
