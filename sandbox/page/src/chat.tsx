import { useContext, useEffect, useId, useLayoutEffect, useRef, useState, type ReactNode } from "react";
import { act, post, words } from "./api";
import { Blocks, Mrkdwn, Names } from "./blocks";
import { Menu, Spinner } from "./elements";
import type { Chat, Command, Message, Shortcut } from "./types";
import { nameOf, replies, top } from "./world";

const clock = new Intl.DateTimeFormat(undefined, { hour: "2-digit", minute: "2-digit" });
const dayName = new Intl.DateTimeFormat(undefined, { weekday: "long", day: "numeric", month: "long" });

// Place is one conversation as a person sees it.
export interface Place {
  channel: string; // an id, or "@alice" for a direct message that nobody has begun
  title: string;
  messages: Message[];
  me: string;
  first: boolean; // it is where everything begins
}

export function Avatar({ chat, id, small }: { chat: Chat; id: string; small?: boolean }) {
  const name = nameOf(chat, id);
  const bot = id === chat.bot;
  return (
    <span className={"avatar" + (small ? " small" : "") + (bot ? " bot" : "")} data-hue={bot ? undefined : hue(name)} aria-hidden="true">
      {bot ? <Key /> : name.charAt(0).toUpperCase()}
    </span>
  );
}

const Key = () => (
  <svg viewBox="0 0 32 32" fill="none" stroke="currentColor" strokeWidth="3">
    <circle cx="11" cy="12" r="5" />
    <path d="M15 16 25 26m-5-5 3.5-3.5" />
  </svg>
);

const hue = (name: string) => [...name].reduce((n, c) => (n * 31 + c.charCodeAt(0)) % 6, 7) % 6;

// Conversation shows a channel, or a thread when parent is given.
export function Conversation({
  place,
  parent,
  onThread,
  draft,
  onDraft,
}: {
  place: Place;
  parent?: Message | undefined;
  onThread: (ts: string) => void;
  draft: string;
  onDraft: (text: string) => void;
}) {
  const shown = parent ? [parent, ...replies(place.messages, parent.ts)] : top(place.messages);
  const list = useRef<HTMLDivElement>(null);
  const atEnd = useRef(true);
  useLayoutEffect(() => {
    if (list.current && atEnd.current) {
      list.current.scrollTop = list.current.scrollHeight;
    }
  });
  useEffect(() => {
    const box = list.current;
    const watch = new ResizeObserver(() => box && atEnd.current && (box.scrollTop = box.scrollHeight));
    if (box) {
      watch.observe(box);
    }
    return () => watch.disconnect();
  }, []);
  let day = "";
  return (
    <>
      <div
        className="messages"
        ref={list}
        role="log"
        aria-live="off" // what arrives is told once, by the page
        aria-label={parent ? "Thread" : place.title}
        tabIndex={0}
        onScroll={(e) => {
          const { scrollTop, scrollHeight, clientHeight } = e.currentTarget;
          atEnd.current = scrollHeight - scrollTop - clientHeight < 60;
        }}
      >
        {shown.length === 0 && (place.first ? <Beginning /> : <p className="empty">Nothing was said here yet.</p>)}
        {shown.map((m, i) => {
          const before = shown[i - 1];
          const today = dayName.format(new Date(m.posted_at));
          const next = today !== day;
          day = today;
          return (
            <div key={m.ts}>
              {next && (
                <div className="day" role="separator">
                  <span>{today}</span>
                </div>
              )}
              <OneMessage
                place={place}
                message={m}
                brief={!next && i > (parent ? 1 : 0) && follows(before, m)}
                thread={parent ? [] : replies(place.messages, m.ts)}
                onThread={parent ? undefined : onThread}
              />
              {parent && i === 0 && (
                <div className="day" role="separator">
                  <span>{shown.length === 1 ? "No replies yet" : shown.length === 2 ? "1 reply" : `${shown.length - 1} replies`}</span>
                </div>
              )}
            </div>
          );
        })}
      </div>
      <Composer key={place.channel + (parent?.ts ?? "")} place={place} thread={parent?.ts} draft={draft} onDraft={onDraft} onSent={() => (atEnd.current = true)} />
    </>
  );
}

// Beginning tells what this is, before anything has happened.
const Beginning = () => (
  <div className="begin">
    <p>
      <strong>This is a chat with a bot that rotates secrets when two people want it.</strong> All of it is on this machine, and nothing can go wrong for good.
    </p>
    <ol>
      <li>
        <strong>alice asks</strong> with a command, and a card appears here.
      </li>
      <li>
        <strong>bob or carol confirms</strong> on the card. You can be each of them: they stand at the top.
      </li>
      <li>
        <strong>The bot works</strong>, and tells each step in the card's thread. What really happens to keys, parameters and tasks stands beside it.
      </li>
    </ol>
  </div>
);

// follows says whether a message goes on where the one before it ended.
function follows(before: Message | undefined, m: Message): boolean {
  return (
    before !== undefined &&
    before.user === m.user &&
    before.ephemeral_to === m.ephemeral_to &&
    (m.blocks?.[0]?.type ?? "") !== "header" &&
    Date.parse(m.posted_at) - Date.parse(before.posted_at) < 5 * 60_000
  );
}

function OneMessage({
  place,
  message: m,
  brief,
  thread,
  onThread,
}: {
  place: Place;
  message: Message;
  brief: boolean;
  thread: Message[];
  onThread: ((ts: string) => void) | undefined;
}) {
  const chat = useContext(Names);
  const [trouble, setTrouble] = useState("");
  if (!chat) {
    return null;
  }
  const name = nameOf(chat, m.user);
  const at = new Date(m.posted_at);
  const shortcuts = m.ephemeral_to ? [] : (chat.app.shortcuts ?? []).filter((s) => s.message);
  const use = (s: Shortcut) => {
    setTrouble("");
    act("shortcut", { user: place.me, callback_id: s.callback_id, channel: m.channel, message_ts: m.ts }).catch((e) => setTrouble(words(e)));
  };
  return (
    <article className={"message" + (brief ? " brief" : "") + (m.ephemeral_to ? " ephemeral" : "")} aria-label={`${name}, ${clock.format(at)}`} data-ts={m.ts}>
      {brief ? <time className="gutter">{clock.format(at)}</time> : <Avatar chat={chat} id={m.user} />}
      <div className="body">
        {m.ephemeral_to && <p className="only">Only visible to you</p>}
        {!brief && (
          <p className="by">
            <strong>{name}</strong>
            {m.bot_id && <span className="tag">APP</span>}
            <time dateTime={m.posted_at} title={at.toLocaleString()}>
              {clock.format(at)}
            </time>
          </p>
        )}
        {m.blocks && m.blocks.length > 0 ? (
          <Blocks
            blocks={m.blocks}
            surface={{
              act: async (block_id, action_id, value) =>
                void (await act("click", { user: place.me, channel: m.channel, message_ts: m.ts, block_id, action_id, value })),
            }}
          />
        ) : (
          <Mrkdwn text={m.text} />
        )}
        {m.edited_ts && !m.blocks && <span className="edited">(edited)</span>}
        {m.files && m.files.length > 0 && <p className="hint">📎 {m.files.length === 1 ? "1 file" : `${m.files.length} files`}</p>}
        {m.reactions && (
          <p className="reactions">
            {Object.entries(m.reactions).map(([sign, users]) => (
              <span key={sign} title={users.map((u) => nameOf(chat, u)).join(", ")}>
                <Mrkdwn text={`:${sign}:`} /> {users.length}
              </span>
            ))}
          </p>
        )}
        {trouble && (
          <p className="trouble" role="alert">
            {trouble}
          </p>
        )}
        {onThread && thread.length > 0 && (
          <button type="button" className="thread-link" onClick={() => onThread(m.ts)}>
            {[...new Set(thread.map((r) => r.user))].slice(0, 3).map((u) => (
              <Avatar key={u} chat={chat} id={u} small />
            ))}
            <b>{thread.length === 1 ? "1 reply" : `${thread.length} replies`}</b>
            <span>last at {clock.format(new Date(thread.at(-1)!.posted_at))}</span>
          </button>
        )}
      </div>
      {!m.ephemeral_to && (onThread || shortcuts.length > 0) && (
        <div className="tools">
          {onThread && (
            <button type="button" className="bk" title="Reply in thread" aria-label="Reply in thread" onClick={() => onThread(m.ts)}>
              ↩
            </button>
          )}
          {shortcuts.length > 0 && (
            <Menu label="More actions" items={shortcuts.map((s) => ({ name: s.name, hint: s.description, choose: () => use(s) }))}>
              ⋯
            </Menu>
          )}
        </div>
      )}
    </article>
  );
}

// Composer is where messages and commands are typed. Commands are completed as they
// are typed.
function Composer({
  place,
  thread,
  draft,
  onDraft,
  onSent,
}: {
  place: Place;
  thread: string | undefined;
  draft: string;
  onDraft: (text: string) => void;
  onSent: () => void;
}) {
  const chat = useContext(Names);
  const id = useId();
  const [pending, setPending] = useState(false);
  const [trouble, setTrouble] = useState("");
  const [at, setAt] = useState(0);
  const [shut, setShut] = useState(false); // the person closed the completions
  const input = useRef<HTMLTextAreaElement>(null);
  useEffect(() => {
    const e = input.current;
    if (e) {
      e.style.height = "auto";
      e.style.height = Math.min(e.scrollHeight + 2, 160) + "px";
    }
  }, [draft]);
  if (!chat) {
    return null;
  }
  const commands = chat.app.commands ?? [];
  const word = draft.split(" ", 1)[0] ?? "";
  const found = draft.startsWith("/") && draft === word && !shut ? commands.filter((c) => c.command.startsWith(word)) : [];
  const typed = commands.find((c) => c.command === word);
  const chosen = found[Math.min(at, found.length - 1)];

  const complete = (c: Command) => {
    onDraft(c.command + " ");
    input.current?.focus();
  };
  const send = async () => {
    const text = draft.trim();
    if (text === "" || pending) {
      return;
    }
    setPending(true);
    setTrouble("");
    try {
      await deliver(chat, place, text, thread);
      onDraft("");
      onSent();
    } catch (e) {
      setTrouble(words(e));
    } finally {
      setPending(false);
      input.current?.focus();
    }
  };
  const onKeyDown = (e: React.KeyboardEvent) => {
    if (e.key === "Enter" && !e.shiftKey && !e.nativeEvent.isComposing) {
      if (chosen && chosen.command !== draft) {
        complete(chosen);
      } else {
        void send();
      }
    } else if (chosen && e.key === "Tab" && !e.shiftKey) {
      complete(chosen);
    } else if (chosen && (e.key === "ArrowDown" || e.key === "ArrowUp")) {
      setAt((at + (e.key === "ArrowDown" ? 1 : found.length - 1)) % found.length);
    } else if (chosen && e.key === "Escape") {
      setShut(true);
      e.stopPropagation();
    } else if (e.key === "Escape") {
      // out of the composer first, so that the page's own keys work
      e.currentTarget.closest("section")?.querySelector<HTMLElement>(".messages")?.focus();
      e.stopPropagation();
    } else {
      return;
    }
    e.preventDefault();
  };
  const shortcuts = thread ? [] : (chat.app.shortcuts ?? []).filter((s) => !s.message);
  return (
    <div className="composer">
      {found.length > 0 && (
        <ul className="completions" role="listbox" id={id + "list"} aria-label="Commands">
          {found.map((c, i) => (
            <li
              key={c.command}
              id={id + i}
              role="option"
              aria-selected={c === chosen}
              onPointerDown={(e) => {
                e.preventDefault();
                complete(c);
              }}
            >
              <b>{c.command}</b> <span className="usage">{c.usage}</span>
              <small>{c.description}</small>
            </li>
          ))}
        </ul>
      )}
      {trouble && (
        <p className="trouble" role="alert">
          {trouble}
        </p>
      )}
      <div className="compose-row">
        {shortcuts.length > 0 && (
          <Menu
            label="Shortcuts"
            items={shortcuts.map((s) => ({
              name: s.name,
              hint: s.description,
              choose: () => void act("shortcut", { user: place.me, callback_id: s.callback_id }).catch((e) => setTrouble(words(e))),
            }))}
          >
            ⚡
          </Menu>
        )}
        <textarea
          ref={input}
          rows={1}
          value={draft}
          placeholder={thread ? "Reply…" : `Message ${place.title}, / for commands`}
          aria-label={thread ? "Reply in the thread" : `Message ${place.title}`}
          aria-controls={chosen ? id + "list" : undefined}
          aria-autocomplete="list"
          aria-activedescendant={chosen ? id + found.indexOf(chosen) : undefined}
          data-composer={thread ? "thread" : "channel"}
          onChange={(e) => {
            onDraft(e.target.value);
            setAt(0);
            setShut(false);
          }}
          onKeyDown={onKeyDown}
        />
        <button type="button" className="bk primary send" aria-label="Send" disabled={pending || draft.trim() === ""} aria-busy={pending} onClick={send}>
          {pending ? <Spinner /> : "➤"}
        </button>
      </div>
      {typed && draft.startsWith(typed.command + " ") && typed.usage && (
        <p className="hint">
          {typed.command} {typed.usage}
        </p>
      )}
    </div>
  );
}

// deliver sends a command or a message as Slack's client would.
async function deliver(chat: Chat, place: Place, text: string, thread: string | undefined) {
  if (text.startsWith("/")) {
    const [command = ""] = text.split(/\s/, 1);
    const commands = chat.app.commands ?? [];
    if (commands.length > 0 && !commands.some((c) => c.command === command)) {
      throw new Error(`${command} is not a valid command.`);
    }
    if (thread) {
      throw new Error(`${command} is not supported in threads. Sorry!`);
    }
    await act("command", { user: place.me, channel: place.channel, command, text: text.slice(command.length).trim() });
    return;
  }
  const named = text.replace(/@([\w.-]*\w)/g, (all, name) => {
    const user = chat.users.find((u) => u.name === name);
    return user ? `<@${user.id}>` : all;
  });
  await post("slack/say", { user: place.me, channel: place.channel, text: named, thread_ts: thread ?? "" });
}

// Home is the app's Home tab.
export function Home({ chat, me }: { chat: Chat; me: string }) {
  const [trouble, setTrouble] = useState("");
  useEffect(() => {
    setTrouble("");
    act("home", { user: me }).catch((e) => setTrouble(words(e)));
  }, [me]);
  const view = chat.screens[me]?.home;
  let content: ReactNode = <p className="empty">The app has put nothing on its Home tab.</p>;
  if (view) {
    content = (
      <Blocks
        blocks={view.blocks}
        surface={{ act: async (block_id, action_id, value) => void (await act("click", { user: me, view_id: view.id, block_id, action_id, value })) }}
      />
    );
  }
  return (
    <div className="messages home" tabIndex={0} aria-label="Home tab" role="region">
      {trouble && (
        <p className="trouble" role="alert">
          {trouble}
        </p>
      )}
      {content}
    </div>
  );
}
