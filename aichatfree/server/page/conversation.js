// The conversation, kept in this browser. What is read back may have been written by anybody, so it is checked.

const KEY = "aichatfree.conversation";
const MAX_TURNS = 200;
const MAX_MESSAGES = 99; // as the page of the real server sends

/**
 * @typedef {object} Turn
 * @property {string} question
 * @property {string} answer What came of it.
 * @property {"whole" | "stopped" | "failed"} state
 * @property {string} problem Why it failed.
 */

/** The turns of the conversation that was kept. */
export function load() {
  try {
    const turns = JSON.parse(localStorage.getItem(KEY) ?? "[]");
    return turns.filter(isTurn).slice(-MAX_TURNS);
  } catch {
    return [];
  }
}

/** Keep the turns; whether that worked. */
export function save(turns) {
  try {
    localStorage.setItem(KEY, JSON.stringify(turns.slice(-MAX_TURNS)));
    return true;
  } catch {
    return false; // the browser keeps nothing, or its store is full
  }
}

/** What to send: turns that failed are left out, and so is what would be too much. */
export function history(turns, question) {
  const messages = [];
  for (const turn of turns) {
    if (turn.answer && turn.state !== "failed") {
      messages.push({ role: "user", text: turn.question }, { role: "model", text: turn.answer });
    }
  }
  messages.push({ role: "user", text: question });
  return messages.slice(-MAX_MESSAGES); // an odd number: it begins with a question
}

function isTurn(turn) {
  const texts = [turn?.question, turn?.answer, turn?.problem];
  return texts.every((text) => typeof text === "string") && ["whole", "stopped", "failed"].includes(turn.state);
}
