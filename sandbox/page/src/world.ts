import { useEffect, useReducer } from "react";
import type { Channel, Chat, Group, Message, Overview, Screen, User } from "./types";

// World is all that the page knows of the sandbox. It is kept by the sandbox's
// stream: everything once, then every change.
export interface World {
  chat: Chat | null;
  overview: Overview | null;
  ahead: number; // ms that the sandbox's clock is ahead of this machine's
  live: boolean; // the stream is open
  news: Message | null; // the newest message that arrived
}

type Change =
  | { kind: "chat"; data: Chat }
  | { kind: "overview"; data: Overview }
  | { kind: "clock"; data: { now: string } }
  | { kind: "screen"; data: { user: string; screen: Screen } }
  | { kind: "change"; data: { kind: string; data: unknown } }
  | { kind: "lost" };

const start: World = { chat: null, overview: null, ahead: 0, live: false, news: null };

export function useWorld(): World {
  const [world, dispatch] = useReducer(reduce, start);
  useEffect(() => {
    const stream = new EventSource("/_sandbox/page");
    for (const kind of ["chat", "overview", "clock", "screen", "change"] as const) {
      stream.addEventListener(kind, (e) => dispatch({ kind, data: JSON.parse(e.data) }));
    }
    // The browser connects again by itself, and is told everything anew.
    stream.addEventListener("error", () => dispatch({ kind: "lost" }));
    return () => stream.close();
  }, []);
  return world;
}

function reduce(w: World, c: Change): World {
  switch (c.kind) {
    case "chat":
      return { ...w, chat: c.data, live: true };
    case "overview":
      return { ...w, overview: c.data };
    case "clock":
      return { ...w, ahead: Date.parse(c.data.now) - Date.now() };
    case "lost":
      return { ...w, live: false };
    case "screen":
      return w.chat ? { ...w, chat: { ...w.chat, screens: { ...w.chat.screens, [c.data.user]: c.data.screen } } } : w;
    case "change":
      return w.chat ? { ...w, ...changed(w.chat, c.data.kind, c.data.data) } : w;
  }
}

function changed(chat: Chat, kind: string, data: unknown): Partial<World> {
  switch (kind) {
    case "message":
      return { chat: withMessage(chat, data as Message), news: data as Message };
    case "message_changed":
    case "message_deleted":
      return { chat: withMessage(chat, data as Message) };
    case "reaction":
      return { chat: withReaction(chat, data as { channel: string; ts: string; name: string; user: string }) };
    case "channel":
      return { chat: { ...chat, channels: replaced(chat.channels, data as Channel) } };
    case "group":
      return { chat: { ...chat, groups: replaced(chat.groups, data as Group) } };
    case "user":
      return { chat: { ...chat, users: replaced(chat.users, data as User) } };
    case "sockets":
      return { chat: { ...chat, sockets: data as number } };
  }
  return {};
}

function withMessage(chat: Chat, m: Message): Chat {
  const list = chat.messages[m.channel] ?? [];
  const i = list.findLastIndex((old) => old.ts === m.ts);
  const next = i < 0 ? [...list, m] : list.with(i, m);
  return { ...chat, messages: { ...chat.messages, [m.channel]: next } };
}

function withReaction(chat: Chat, r: { channel: string; ts: string; name: string; user: string }): Chat {
  const m = chat.messages[r.channel]?.find((old) => old.ts === r.ts);
  if (!m) {
    return chat;
  }
  const users = [...(m.reactions?.[r.name] ?? []), r.user];
  return withMessage(chat, { ...m, reactions: { ...m.reactions, [r.name]: users } });
}

function replaced<T extends { id: string }>(list: T[], item: T): T[] {
  const i = list.findIndex((old) => old.id === item.id);
  return i < 0 ? [...list, item] : list.with(i, item);
}

// seen is what a person sees of a channel, oldest first.
export function seen(chat: Chat, channel: string | undefined, me: string): Message[] {
  const all = (channel && chat.messages[channel]) || [];
  return all.filter((m) => !m.deleted && (!m.ephemeral_to || m.ephemeral_to === me));
}

// top is what stands in the channel itself; the rest stands in threads.
export function top(messages: Message[]): Message[] {
  const known = new Set(messages.map((m) => m.ts));
  return messages.filter((m) => !m.thread_ts || m.reply_broadcast || !known.has(m.thread_ts));
}

export const replies = (messages: Message[], ts: string) => messages.filter((m) => m.thread_ts === ts);

// rings says whether a message is addressed to a person.
export function rings(chat: Chat, m: Message, me: string): boolean {
  return (m.mentions ?? []).some(
    (id) => id === me || id.startsWith("!") || chat.groups.some((g) => g.id === id && g.users.includes(me)),
  );
}

export function nameOf(chat: Chat, id: string): string {
  return chat.users.find((u) => u.id === id)?.name ?? id;
}

export const directMessage = (chat: Chat, me: string) => chat.channels.find((c) => c.im && c.user === me);
