import type { Chat, Message, Overview } from "./types";
import { nameOf } from "./world";

// Step is what a visitor could do next.
export interface Step {
  words: string;
  command?: string; // to be typed
  become?: string; // a user id
  thread?: string; // a message's ts
  message?: string; // a message's ts, to be shown
  advance?: string; // of the clock
}

// nextStep reads the newest card that is not over as a person would.
export function nextStep(chat: Chat, overview: Overview | null, messages: Message[], me: string): Step {
  const cards = messages.filter((m) => m.bot_id && !m.ephemeral_to && m.blocks?.[0]?.type === "header");
  const card = cards.findLast((m) => pending(m) || /^(running|confirmed|being taken back|waiting|parked)/i.test(statusOf(m)));
  const status = card ? statusOf(card) : "";
  if (card && pending(card)) {
    return confirming(chat, card, me);
  }
  if (card && /^(running|confirmed|being taken back)/i.test(status)) {
    return { words: "It runs. Every step and what proved it is told in the card's thread.", thread: card.thread_ts ?? card.ts };
  }
  if (card && /^waiting/i.test(status)) {
    return chat.app.clock
      ? { words: "Both keys work for a day, then the old one is removed. You need not wait.", advance: "24h1m", thread: card.thread_ts ?? card.ts }
      : { words: "Both keys work for a day, then the old one is removed. The bot runs by its own clock, which the sandbox cannot jump.", thread: card.thread_ts ?? card.ts };
  }
  if (card && /^parked/i.test(status)) {
    return { words: "It stopped, and a person has to say how it goes on: see the card's buttons.", message: card.ts };
  }
  return { words: `You are ${nameOf(chat, me)}. Ask for a rotation: type`, command: suggestion(overview) };
}

function confirming(chat: Chat, card: Message, me: string): Step {
  const asker = /Asked for by <@(\w+)/.exec(card.text)?.[1];
  const approvers = chat.groups.find((g) => g.handle === "approvers")?.users ?? [];
  const other = approvers.find((id) => id !== asker);
  const become = other === me || !other ? {} : { become: other };
  if (me === asker) {
    return { words: "Somebody else has to confirm this: try it yourself, or become another person.", message: card.ts, ...become };
  }
  if (approvers.includes(me)) {
    return { words: `You are ${nameOf(chat, me)}, who may confirm. Read the card, then press its button.`, message: card.ts };
  }
  return { words: `You are ${nameOf(chat, me)}, who may not confirm: try it, or become somebody who may.`, message: card.ts, ...become };
}

// statusOf is a card's line below its title.
const statusOf = (m: Message) => m.text.split("\n")[1] ?? "";

// pending cards can be confirmed: by a click, or by typing a name.
const pending = (m: Message) => can(m, "confirm") || can(m, "confirm_typed");

const can = (m: Message, action: string) => m.blocks?.some((b) => b.elements?.some((e) => e.action_id === action)) ?? false;

// suggestion asks for the secret that is nearest to its end.
function suggestion(overview: Overview | null): string {
  const near = overview?.secrets.filter((s) => s.health === "expiring") ?? [];
  const secret = near.find((s) => s.name === "sharepoint/prod") ?? near[0];
  return `/rotate ${secret?.server ?? "sharepoint"} ${secret?.environment ?? "prod"} CHG0012345 yearly rotation`;
}
