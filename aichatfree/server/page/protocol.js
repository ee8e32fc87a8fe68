// The protocol, as every client of it speaks it: signed requests, a streamed text, failures that look like text.

const IN_BAND_ERROR = "Internal server error";

/** A failure, in words for the reader. */
export class Failure extends Error {}

/** The server wants a password or a secret, or another one: `wants` is "password" or "secret". */
export class Refused extends Failure {
  constructor(wants, message) {
    super(message);
    this.wants = wants;
  }
}

/** Whether a password opens the site (also whether none is needed). */
export async function opens(password) {
  const response = await send("api/auth", { pass: password });
  try {
    return response.ok && (await response.json()).code === 0;
  } catch {
    return false;
  }
}

/**
 * Ask, and yield the text of the reply as it comes.
 *
 * A loop over it ends normally only after a whole reply; otherwise a Failure is thrown, or what `signal` aborts with.
 */
export async function* ask(messages, { password, secret, signal }) {
  const time = Date.now();
  const text = messages.at(-1).text;
  const sign = await sha256(`${time}:${text}:${secret}`);
  const contents = messages.map(({ role, text }) => ({ role, parts: [{ text }] }));
  const response = await send("api/generate", { messages: contents, time, pass: password, sign }, signal);
  if (!response.ok) {
    throw await refusal(response);
  }
  let pending = ""; // may be the beginning of the words that say that the reply failed
  let empty = true;
  for await (const piece of pieces(response, signal)) {
    const [sure, unsure] = split(pending + piece);
    pending = unsure;
    if (sure) {
      empty = false;
      yield sure;
    }
  }
  if (pending === IN_BAND_ERROR) {
    throw new Failure("The server failed, and the reply broke off. It may help to try again.");
  }
  if (pending) {
    yield pending;
  } else if (empty) {
    throw new Failure("The server sent an empty reply.");
  }
}

async function send(path, body, signal) {
  const headers = { "Content-Type": "text/plain;charset=UTF-8" };
  try {
    return await fetch(path, { method: "POST", headers, body: JSON.stringify(body), signal });
  } catch (error) {
    throw signal?.aborted ? error : new Failure("The server cannot be reached. Is it running?");
  }
}

async function refusal(response) {
  let text = "";
  try {
    text = (await response.text()).slice(0, 4000);
  } catch {
    // What matters is the status.
  }
  let message = text;
  try {
    message = String(JSON.parse(text).error.message);
  } catch {
    // Not every error is JSON.
  }
  if (response.status === 401 && /password/i.test(message)) {
    return new Refused("password", "That password is not right.");
  }
  if (response.status === 401 && /signature/i.test(message)) {
    return new Refused("secret", "The server signs with another secret, or the clock of this device is wrong.");
  }
  message = message.replace("[GoogleGenerativeAI Error]: Error fetching from ", "").trim();
  return new Failure(`The server refused (${response.status}). ${message.slice(0, 500)}`.trim());
}

async function* pieces(response, signal) {
  const reader = response.body.getReader();
  const decoder = new TextDecoder();
  try {
    for (;;) {
      const { done, value } = await reader.read();
      const text = decoder.decode(value, { stream: !done });
      if (text) {
        yield text;
      }
      if (done) {
        return;
      }
    }
  } catch (error) {
    throw signal?.aborted ? error : new Failure("The connection broke off before the end of the reply.");
  } finally {
    reader.cancel().catch(() => {});
  }
}

/** A text, and as much of its end as may be the in-band error. */
function split(text) {
  for (let length = Math.min(text.length, IN_BAND_ERROR.length); length > 0; length -= 1) {
    if (text.endsWith(IN_BAND_ERROR.slice(0, length))) {
      return [text.slice(0, -length), text.slice(-length)];
    }
  }
  return [text, ""];
}

/** The hex SHA-256 of a text in UTF-8. */
export async function sha256(text) {
  const data = new TextEncoder().encode(text);
  // Browsers have SubtleCrypto only on https and localhost.
  const digest = globalThis.crypto?.subtle ? await crypto.subtle.digest("SHA-256", data) : ownSha256(data);
  return Array.from(new Uint8Array(digest), (byte) => byte.toString(16).padStart(2, "0")).join("");
}

/** FIPS 180-4. */
export function ownSha256(data) {
  const [k, h] = constants();
  const length = Math.ceil((data.length + 9) / 64) * 64;
  const padded = new Uint8Array(length);
  padded.set(data);
  padded[data.length] = 0x80;
  const view = new DataView(padded.buffer);
  view.setUint32(length - 8, Math.floor(data.length / 2 ** 29));
  view.setUint32(length - 4, (data.length << 3) >>> 0);
  const w = new Uint32Array(64);
  const turn = (x, n) => (x >>> n) | (x << (32 - n));
  for (let at = 0; at < length; at += 64) {
    for (let i = 0; i < 16; i += 1) {
      w[i] = view.getUint32(at + 4 * i);
    }
    for (let i = 16; i < 64; i += 1) {
      const s0 = turn(w[i - 15], 7) ^ turn(w[i - 15], 18) ^ (w[i - 15] >>> 3);
      const s1 = turn(w[i - 2], 17) ^ turn(w[i - 2], 19) ^ (w[i - 2] >>> 10);
      w[i] = w[i - 16] + s0 + w[i - 7] + s1;
    }
    let [a, b, c, d, e, f, g, z] = h;
    for (let i = 0; i < 64; i += 1) {
      const t1 = (z + (turn(e, 6) ^ turn(e, 11) ^ turn(e, 25)) + ((e & f) ^ (~e & g)) + k[i] + w[i]) | 0;
      const t2 = ((turn(a, 2) ^ turn(a, 13) ^ turn(a, 22)) + ((a & b) ^ (a & c) ^ (b & c))) | 0;
      [z, g, f, e, d, c, b, a] = [g, f, e, (d + t1) | 0, c, b, a, (t1 + t2) | 0];
    }
    [a, b, c, d, e, f, g, z].forEach((value, i) => {
      h[i] += value;
    });
  }
  const digest = new DataView(new ArrayBuffer(32));
  h.forEach((value, i) => digest.setUint32(4 * i, value));
  return digest.buffer;
}

/** The fractional parts of the cube roots of the first 64 primes, and of the square roots of the first eight. */
function constants() {
  const k = new Uint32Array(64);
  const h = new Uint32Array(8);
  const fraction = (x) => ((x - Math.floor(x)) * 2 ** 32) >>> 0;
  for (let n = 2, count = 0; count < 64; n += 1) {
    let prime = true;
    for (let d = 2; d * d <= n && prime; d += 1) {
      prime = n % d !== 0;
    }
    if (prime) {
      if (count < 8) {
        h[count] = fraction(Math.sqrt(n));
      }
      k[count] = fraction(Math.cbrt(n));
      count += 1;
    }
  }
  return [k, h];
}
