// The HTTP side of the API: typed by the OpenAPI document, errors with cause and way out.
import createClient from 'openapi-fetch';
import type { paths } from './schema';

export const http = createClient<paths>({ baseUrl: '/' });

/** What went wrong, in words a reader can act on. */
export class ApiError extends Error {
  constructor(
    readonly status: number,
    message: string,
    readonly path: string,
  ) {
    super(message);
  }
}

interface Answer<T> {
  data?: T;
  error?: unknown;
  response: Response;
}

/** The answer's body, or an ApiError with the server's own words. */
export async function take<T>(call: Promise<Answer<T>>): Promise<T> {
  let answer: Answer<T>;
  try {
    answer = await call;
  } catch (cause) {
    if (cause instanceof DOMException && cause.name === 'AbortError') throw cause;
    throw new ApiError(0, 'cannot reach the weir server: is it running, and does the network let you through?', '');
  }
  const { data, error, response } = answer;
  if (response.ok && data !== undefined) return data;
  const path = new URL(response.url || 'http://x/', 'http://x').pathname;
  throw new ApiError(response.status, words(error, response), path);
}

function words(error: unknown, response: Response): string {
  if (typeof error === 'object' && error !== null) {
    const e = error as { detail?: string; title?: string; error?: string };
    const text = e.detail || e.error || e.title;
    if (text) return text;
  }
  if (typeof error === 'string' && error.trim() && !error.includes('<')) return error.trim().slice(0, 500);
  return `the server answered ${response.status} ${response.statusText}`.trim();
}
