// Pure formatting of numbers for people. Null and undefined mean "not known" and are drawn as a
// dash, never as zero. Spaces between number and unit are no-break spaces so that cells do not wrap.

const NB = '\u00a0';
export const DASH = '–';

type Num = number | null | undefined;

const known = (v: Num): v is number => v != null && Number.isFinite(v);

/** Seconds as `0.4 s`, `38 s`, `3 m 50 s`, `9 h 02 m`, `3 d 4 h`; below a tenth of a second `12 ms`. */
export function duration(seconds: Num): string {
  if (!known(seconds)) return DASH;
  if (seconds < 0) return `-${duration(-seconds)}`;
  if (seconds === 0) return `0${NB}s`;
  if (seconds < 0.000_999_5) return `${significant(seconds * 1e6)}${NB}µs`;
  if (seconds < 0.099_5) return `${seconds < 0.0095 ? significant(seconds * 1e3) : Math.round(seconds * 1e3)}${NB}ms`;
  if (seconds < 9.95) return `${seconds.toFixed(1)}${NB}s`;
  const whole = Math.round(seconds);
  if (whole < 60) return `${whole}${NB}s`;
  if (whole < 3600) return `${Math.floor(whole / 60)}${NB}m${NB}${pad(whole % 60)}${NB}s`;
  const minutes = Math.round(seconds / 60);
  if (minutes < 24 * 60) return `${Math.floor(minutes / 60)}${NB}h${NB}${pad(minutes % 60)}${NB}m`;
  const hours = Math.round(seconds / 3600);
  return `${Math.floor(hours / 24)}${NB}d${NB}${hours % 24}${NB}h`;
}

/** A duration on an axis, where values are round: `0`, `0.2 s`, `15 s`, `4 m`, `1 h 30 m`. */
export function durationTick(seconds: number): string {
  if (seconds === 0) return '0';
  if (seconds < 60)
    return seconds < 0.1 ? `${trimZero((seconds * 1e3).toFixed(1))}${NB}ms` : `${Number(seconds.toFixed(2))}${NB}s`;
  if (seconds < 3600) return seconds % 60 === 0 ? `${seconds / 60}${NB}m` : duration(seconds);
  if (seconds < 86_400) return seconds % 3600 === 0 ? `${seconds / 3600}${NB}h` : duration(seconds);
  return seconds % 86_400 === 0 ? `${seconds / 86_400}${NB}d` : duration(seconds);
}

/** The stated error of a figure: `± 2 s`; empty when there is none. */
export function bound(seconds: Num): string {
  return known(seconds) && seconds > 0 ? `±${NB}${duration(seconds).replace('.0', '')}` : '';
}

/**
 * How old what a figure rests on was when the page was made, Unix milliseconds: `read 8 s ago`; empty below a second, and when it
 * is not known.
 */
export function readAgo(page: number, read: number | undefined): string {
  return read && page - read >= 1000 ? `read ${duration(Math.round((page - read) / 1000))} ago`.replace('.0', '') : '';
}

/** A span's duration: always three significant digits, because spans are compared with each other. */
export function spanDuration(seconds: Num): string {
  if (!known(seconds)) return DASH;
  if (seconds === 0) return `0${NB}s`;
  const abs = Math.abs(seconds);
  if (abs < 1e-3) return `${significant(seconds * 1e6)}${NB}µs`;
  if (abs < 1) return `${significant(seconds * 1e3)}${NB}ms`;
  if (abs < 60) return `${significant(seconds)}${NB}s`;
  return duration(seconds);
}

const STEPS = ['', 'k', 'M', 'G', 'T'];

/** A rate or other large number: `0.4`, `6.9`, `640`, `8.1 k`, `211 k`, `1.2 M`. */
export function rate(value: Num): string {
  if (!known(value)) return DASH;
  if (value < 0) return `-${rate(-value)}`;
  if (value === 0) return '0';
  if (value < 0.01) return value.toPrecision(1);
  let v = value;
  let step = 0;
  // 999.5 would print as 1000: go to the next unit before rounding does.
  while (v >= 999.5 && step < STEPS.length - 1) {
    v /= 1000;
    step++;
  }
  const text =
    step === 0
      ? v < 9.95
        ? trimZero(v.toFixed(v < 1 ? 2 : 1))
        : String(Math.round(v))
      : v < 99.95
        ? v.toFixed(1)
        : v.toFixed(0);
  return step === 0 ? text : `${text}${NB}${STEPS[step]}`;
}

/** An exact whole number with thousands separators. */
export function count(value: Num): string {
  return known(value) ? Math.round(value).toLocaleString('en') : DASH;
}

const BYTES = ['B', 'KiB', 'MiB', 'GiB', 'TiB', 'PiB'];

/** Bytes in binary units: `512 B`, `1.4 MiB`. */
export function bytes(value: Num): string {
  if (!known(value)) return DASH;
  let v = value;
  let step = 0;
  while (Math.abs(v) >= 1023.5 && step < BYTES.length - 1) {
    v /= 1024;
    step++;
  }
  return `${step === 0 ? Math.round(v) : v < 99.95 ? v.toFixed(1) : v.toFixed(0)}${NB}${BYTES[step]}`;
}

/** A share of 1 as `2.3 %`, `0.1 %`, `99.98 %`; what is not all is never rounded up to 100 %. */
export function percent(share: Num): string {
  if (!known(share)) return DASH;
  const p = share * 100;
  if (p === 0 || p === 100) return `${p}${NB}%`;
  if (p > 0 && p < 0.01) return `<${NB}0.01${NB}%`;
  if (p > 99.9 && p < 100) return `${(Math.floor(p * 1000) / 1000).toFixed(p >= 99.99 ? 3 : 2)}${NB}%`;
  if (p > 99 && p < 100) return `${(Math.floor(p * 10) / 10).toFixed(1)}${NB}%`;
  return `${p < 1 ? p.toFixed(2).replace(/0$/, '') : p < 10 ? p.toFixed(1) : Math.round(p)}${NB}%`;
}

/** A sample value of unknown unit, for Explore. */
export function value(v: Num): string {
  if (v == null || Number.isNaN(v)) return v == null ? DASH : 'NaN';
  if (!Number.isFinite(v)) return v > 0 ? '+Inf' : '-Inf';
  if (v === 0) return '0';
  const abs = Math.abs(v);
  if (abs >= 1e15 || abs < 1e-4) return v.toExponential(3);
  if (Number.isInteger(v)) return v.toLocaleString('en');
  return v.toLocaleString('en', { maximumSignificantDigits: 6 });
}

/** `1 pipeline`, `3 pipelines`. */
export function plural(n: number, one: string, many = `${one}s`): string {
  return `${count(n)} ${n === 1 ? one : many}`;
}

function pad(n: number): string {
  return n < 10 ? `0${n}` : String(n);
}

function significant(v: number): string {
  const abs = Math.abs(v);
  return trimZero(v.toFixed(abs < 9.995 ? 2 : abs < 99.95 ? 1 : 0));
}

function trimZero(s: string): string {
  return s.includes('.') ? s.replace(/\.?0+$/, '') : s;
}
