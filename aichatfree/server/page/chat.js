// The page: what is asked and answered becomes text in the document, never HTML.

import { history, load, save } from "./conversation.js";
import { ask, Failure, opens, Refused } from "./protocol.js";

const element = (id) => document.getElementById(id);
const [turnsList, scroller, form, prompt] = ["turns", "scroller", "ask", "prompt"].map(element);
const [sendButton, stopButton, status, welcome] = ["send", "stop", "status", "welcome"].map(element);

const PASSWORD = "aichatfree.password";
const SECRET = "aichatfree.secret";
let turns = load();
let running = null; // the AbortController of the question that is being answered

/** What was typed in this tab, or nothing. */
function remembered(name) {
  try {
    return sessionStorage.getItem(name);
  } catch {
    return null;
  }
}

function remember(name, value) {
  try {
    sessionStorage.setItem(name, value);
  } catch {
    // Then it is asked for again.
  }
}

// Showing

function make(tag, className, text = "") {
  const made = document.createElement(tag);
  made.className = className;
  made.textContent = text;
  return made;
}

/** Show a turn; what it returns shows what becomes of it. */
function show(turn) {
  welcome.hidden = true;
  const item = document.createElement("li");
  const question = make("article", "message question");
  question.append(make("h2", "unseen", "You"), make("div", "text", turn.question));
  const answer = make("article", "message answer");
  const text = make("div", "text");
  answer.append(make("h2", "unseen", "Answer"), text);
  // Read out as a whole when it is complete.
  answer.setAttribute("aria-live", "polite");
  item.append(question, answer);
  turnsList.append(item);
  const shown = document.createTextNode("");
  let frame = 0;

  function paint() {
    frame = 0;
    const atEnd = scroller.scrollHeight - scroller.scrollTop - scroller.clientHeight < 80;
    shown.appendData(turn.answer.slice(shown.length));
    text.classList.toggle("waiting", answer.getAttribute("aria-busy") === "true");
    if (atEnd) {
      scroller.scrollTop = scroller.scrollHeight;
    }
  }

  return {
    begin() {
      answer.setAttribute("aria-busy", "true");
      text.append(shown);
      paint();
      scroller.scrollTop = scroller.scrollHeight;
    },
    update() {
      frame ||= requestAnimationFrame(paint);
    },
    end() {
      cancelAnimationFrame(frame);
      text.classList.remove("waiting");
      text.replaceChildren(...formatted(turn.answer));
      if (turn.state === "stopped") {
        answer.append(make("p", "note", "Stopped."));
      } else if (turn.state === "failed") {
        const problem = make("p", "failure", turn.problem);
        problem.setAttribute("role", "alert");
        const again = make("button", "again", "Try again");
        again.type = "button";
        again.addEventListener("click", () => {
          if (!running) {
            item.remove();
            turns = turns.filter((other) => other !== turn);
            prompt.focus();
            reply(turn.question);
          }
        });
        answer.append(problem, again);
      }
      answer.setAttribute("aria-busy", "false");
      scroller.scrollTop = scroller.scrollHeight;
    },
  };
}

/** A text as nodes: blocks of code between lines of three backticks, and everything else as it is. */
function formatted(text) {
  return text.split(/^```[^\n`]*\n([\s\S]*?)^```[ \t]*$\n?/m).map((part, number) => {
    if (number % 2 === 0) {
      return document.createTextNode(part);
    }
    const block = document.createElement("pre");
    block.tabIndex = 0; // so that the keyboard can scroll it
    block.append(make("code", "", part));
    return block;
  });
}

function showRunning(isRunning) {
  sendButton.hidden = isRunning;
  stopButton.hidden = !isRunning;
  status.textContent = isRunning ? "The answer is coming." : "";
}

// Asking

async function reply(question) {
  const turn = { question, answer: "", state: "failed", problem: "The page was closed before the end of the reply." };
  const messages = history(turns, question);
  turns.push(turn);
  const shown = show(turn);
  const { signal } = (running = new AbortController());
  showRunning(true);
  shown.begin();
  save(turns);
  try {
    await receive(messages, signal, turn, shown);
    turn.state = "whole";
    turn.problem = "";
  } catch (error) {
    turn.state = signal.aborted ? "stopped" : "failed";
    turn.problem = signal.aborted ? "" : error instanceof Failure ? error.message : "This page failed.";
    if (!(error instanceof Failure) && !signal.aborted) {
      console.error(error);
    }
  }
  running = null;
  shown.end();
  showRunning(false);
  status.textContent = { whole: "The answer is complete.", stopped: "Stopped.", failed: "" }[turn.state];
  if (!save(turns)) {
    status.textContent += " This browser does not keep the conversation.";
  }
}

async function receive(messages, signal, turn, shown) {
  for (;;) {
    const options = {
      password: remembered(PASSWORD),
      secret: remembered(SECRET) ?? "",
      signal,
    };
    try {
      for await (const piece of ask(messages, options)) {
        turn.answer += piece;
        shown.update();
      }
      return;
    } catch (error) {
      if (!(error instanceof Refused) || !(await askFor(error.wants, error.message))) {
        throw error;
      }
    }
  }
}

/** Ask for the password or the secret; whether one was typed. */
function askFor(wants, hint) {
  const dialog = element("credential");
  const value = element("credential-value");
  element("credential-label").textContent = wants === "password" ? "Password" : "Secret with which requests are signed";
  element("credential-hint").textContent = hint;
  value.value = "";
  dialog.returnValue = "cancel";
  dialog.showModal();
  return new Promise((resolve) => {
    const ended = () => {
      const given = dialog.returnValue === "ok" && value.value !== "";
      if (given) {
        remember(wants === "password" ? PASSWORD : SECRET, value.value);
      }
      value.value = "";
      resolve(given);
    };
    dialog.addEventListener("close", ended, { once: true });
  });
}

// What people do

function fit() {
  prompt.style.height = "auto";
  prompt.style.height = `${prompt.scrollHeight + 2}px`;
}

form.addEventListener("submit", (event) => {
  event.preventDefault();
  const question = prompt.value.trim();
  if (!question || running) {
    return;
  }
  prompt.value = "";
  fit();
  reply(question);
});

prompt.addEventListener("input", fit);
prompt.addEventListener("keydown", (event) => {
  // Enter also ends the input of a Chinese or Japanese word.
  if (event.key === "Enter" && !event.shiftKey && !event.isComposing) {
    event.preventDefault();
    form.requestSubmit();
  }
});

function stop() {
  running?.abort();
  prompt.focus();
}

stopButton.addEventListener("click", stop);
document.addEventListener("keydown", (event) => {
  if (event.key === "Escape" && !element("credential").open) {
    stop();
  }
});

element("new").addEventListener("click", () => {
  running?.abort();
  turns = [];
  save(turns);
  turnsList.replaceChildren();
  welcome.hidden = false;
  status.textContent = "A new conversation has begun.";
  prompt.focus();
});

window.addEventListener("pagehide", () => {
  if (running) {
    save(turns);
  }
});

for (const turn of turns) {
  show(turn).end();
}

opens(remembered(PASSWORD))
  .then((open) => (open ? true : askFor("password", "This server wants a password.")))
  .catch(() => {}); // the first question will say what is wrong
