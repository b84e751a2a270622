import { useEffect, useMemo, useState, type ReactNode } from "react";
import { flushSync } from "react-dom";
import { Names } from "./blocks";
import { Avatar, Conversation, Home, type Place } from "./chat";
import { Ahead } from "./dates";
import { Dialog } from "./dialog";
import { nextStep, type Step } from "./guide";
import { Modal } from "./modal";
import { Do, jump, Systems, Tab } from "./systems";
import type { Channel, Chat, Message, User } from "./types";
import { directMessage, nameOf, rings, seen, top, useWorld, type World } from "./world";

// Where somebody is: in a channel, or with the app (its messages, its Home tab).
type Spot = { kind: "channel"; id: string } | { kind: "app"; tab: "home" | "messages" };
type Pane = "list" | "chat" | "systems";

export function App() {
  const world = useWorld();
  return world.chat ? (
    <Names value={world.chat}>
      <Ahead value={world.ahead}>
        <Workspace key={world.chat.started} world={world} chat={world.chat} />
      </Ahead>
    </Names>
  ) : (
    <p className="empty" role="status">
      Connecting to the sandbox…
    </p>
  );
}

function Workspace({ world, chat }: { world: World; chat: Chat }) {
  const people = chat.users.filter((u) => !u.bot);
  const [me, setMe] = useState(people[0]?.id ?? "");
  const [wanted, setWanted] = useState<Spot>({ kind: "channel", id: chat.channels[0]?.id ?? "" });
  const [threadTS, setThread] = useState("");
  const [pane, setPane] = useState<Pane>("chat");
  const [help, setHelp] = useState(false);
  const [drafts, setDrafts] = useState<Record<string, string>>({});

  const channels = chat.channels.filter((c) => !c.im && !c.archived && c.members.includes(me));
  const spot: Spot = wanted.kind === "app" || channels.some((c) => c.id === wanted.id) ? wanted : { kind: "channel", id: channels[0]?.id ?? "" };
  const place = placeOf(chat, spot, me);
  const parent = place.messages.find((m) => m.ts === threadTS && !m.thread_ts);
  const read = useRead(chat, me, spot.kind === "app" && spot.tab === "home" ? "" : place.channel, pane !== "list");
  const modal = chat.screens[me]?.modals.at(-1);
  const user = people.find((u) => u.id === me);
  const shut = user?.deleted ?? true;

  const go = (s: Spot) => {
    setWanted(s);
    setThread("");
    setPane("chat");
  };
  const become = (id: string) => setMe(id);
  const draftKey = (thread?: string) => [me, place.channel, thread].join("/");
  const draft = (key: string) => ({ draft: drafts[key] ?? "", onDraft: (text: string) => setDrafts((old) => ({ ...old, [key]: text })) });
  const compose = (text?: string) => {
    setThread("");
    setPane("chat");
    if (text !== undefined) {
      setDrafts((old) => ({ ...old, [draftKey()]: text }));
    }
    focusOn("[data-composer=channel]");
  };
  const spots: Spot[] = [...channels.map((c): Spot => ({ kind: "channel", id: c.id })), { kind: "app", tab: "messages" }];
  useShortcuts({
    "?": () => setHelp(true),
    "/": () => compose(drafts[draftKey()] || "/"),
    t: () => {
      const last = place.messages.findLast((m) => m.thread_ts);
      if (last?.thread_ts) {
        setThread(last.thread_ts);
        setPane("chat");
        focusOn(".thread .messages");
      }
    },
    i: () => {
      setPane("systems");
      focusOn(".systems [role=tab][aria-selected=true]");
    },
    h: () => go({ kind: "app", tab: "home" }),
    c: () => {
      compose();
    },
    Escape: () => (threadTS ? setThread("") : setPane("chat")),
    "Alt+ArrowDown": () => go(spots[(spots.findIndex((s) => same(s, spot)) + 1) % spots.length]!),
    "Alt+ArrowUp": () => go(spots.at(spots.findIndex((s) => same(s, spot)) - 1)!),
    ...Object.fromEntries(people.map((u, i) => [String(i + 1), () => become(u.id)])),
  });

  return (
    <div className="app" data-pane={pane} data-thread={parent ? "open" : "shut"}>
      <header className="top">
        <h1>
          twokey <span>sandbox</span>
        </h1>
        <People chat={chat} people={people} me={me} become={become} />
        <p className={"status " + (chat.sockets > 0 && world.live ? "good" : "bad")} role="status">
          {!world.live ? "sandbox gone" : chat.sockets > 0 ? "bot connected" : "no bot"}
        </p>
        <button type="button" className="bk" aria-label="Keyboard shortcuts" title="Keyboard shortcuts" onClick={() => setHelp(true)}>
          ?
        </button>
      </header>
      <Guide
        world={world}
        chat={chat}
        step={nextStep(chat, world.overview, operations(chat, me), me)}
        me={me}
        reading={parent?.ts}
        onType={(text) => {
          const ops = operationsChannel(chat, me);
          if (ops && !(spot.kind === "channel" && spot.id === ops.id)) {
            go({ kind: "channel", id: ops.id });
            setDrafts((old) => ({ ...old, [[me, ops.id, undefined].join("/")]: text }));
            focusOn("[data-composer=channel]");
          } else {
            compose(text);
          }
        }}
        become={become}
        onThread={(ts) => {
          const ops = operationsChannel(chat, me);
          if (ops) {
            go({ kind: "channel", id: ops.id });
            setThread(ts);
          }
        }}
        onShow={(ts) => {
          const ops = operationsChannel(chat, me);
          if (ops) {
            go({ kind: "channel", id: ops.id });
            const card = operations(chat, me).find((m) => m.ts === ts);
            setThread(card?.thread_ts ?? "");
            focusOn(`${card?.thread_ts ? ".thread" : ".chat"} [data-ts="${ts}"] button.bk:not(.tools *)`);
          }
        }}
      />
      <Sidebar chat={chat} channels={channels} spot={spot} me={me} unread={read} go={go} />
      <main>
        <section className="chat" aria-label={place.title}>
          {shut ? (
            <p className="empty">{nameOf(chat, me)}’s account is deactivated: Slack shows nothing.</p>
          ) : (
            <>
              <Head place={place} chat={chat} spot={spot} go={go} />
              {spot.kind === "app" && spot.tab === "home" ? (
                <Home chat={chat} me={me} />
              ) : (
                <Conversation key={place.channel + me} place={place} onThread={setThread} {...draft(draftKey())} />
              )}
            </>
          )}
        </section>
        {parent && (
          <section className="thread" aria-label="Thread">
            <header className="head">
              <button type="button" className="bk back" onClick={() => setThread("")} aria-label={`Back to ${place.title}`}>
                ‹
              </button>
              <h2>
                Thread <small>{place.title}</small>
              </h2>
              <button type="button" className="close" aria-label="Close the thread" onClick={() => setThread("")}>
                ✕
              </button>
            </header>
            <Conversation key={parent.ts + me} place={place} parent={parent} onThread={setThread} {...draft(draftKey(parent.ts))} />
          </section>
        )}
        <section className="systems" aria-label="What stands behind it">
          <h2 className="unseen">What stands behind it</h2>
          <Systems overview={world.overview} ahead={world.ahead} shared={chat.app.clock} />
        </section>
      </main>
      <nav className="bottom" aria-label="Panes">
        {(["list", "chat", "systems"] as const).map((p) => (
          <button key={p} type="button" aria-current={pane === p} onClick={() => setPane(p)}>
            {{ list: "Channels", chat: "Chat", systems: "Systems" }[p]}
          </button>
        ))}
      </nav>
      {modal && <Modal key={modal.id} view={modal} me={me} />}
      {help && <Help people={people} onClose={() => setHelp(false)} />}
      <News chat={chat} news={world.news} me={me} />
    </div>
  );
}

const same = (a: Spot, b: Spot) => a.kind === b.kind && (a.kind === "app" || (b.kind === "channel" && a.id === b.id));

// placeOf is what a person sees at a spot.
function placeOf(chat: Chat, spot: Spot, me: string): Place {
  if (spot.kind === "app") {
    const dm = directMessage(chat, me);
    return { channel: dm?.id ?? "@" + nameOf(chat, me), title: nameOf(chat, chat.bot), messages: seen(chat, dm?.id, me), me, first: false };
  }
  const channel = chat.channels.find((c) => c.id === spot.id);
  return { channel: spot.id, title: "#" + (channel?.name ?? ""), messages: seen(chat, spot.id, me), me, first: spot.id === operationsChannel(chat, me)?.id };
}

// operationsChannel is the first channel of the workspace: where requests are confirmed.
const operationsChannel = (chat: Chat, me: string) => chat.channels.find((c) => !c.im && c.members.includes(me));
const operations = (chat: Chat, me: string) => seen(chat, operationsChannel(chat, me)?.id, me);

// focusOn draws what was just changed and focuses a part of it, before the next key
// arrives: what somebody types at once belongs there.
function focusOn(selector: string) {
  flushSync(() => {});
  const e = document.querySelector<HTMLElement>(selector);
  e?.focus();
  e?.scrollIntoView({ block: "nearest" });
  if (e instanceof HTMLTextAreaElement) {
    e.setSelectionRange(e.value.length, e.value.length);
  }
}

// Unread counts what somebody has not seen: all of it, and what is addressed to them.
type Unread = (channel: Channel | undefined) => { all: number; loud: number };

// useRead remembers up to where everybody has read every channel. What was there
// when the page was opened counts as read.
function useRead(chat: Chat, me: string, shown: string, visible: boolean): Unread {
  const [base] = useState(() => Math.max(0, ...Object.values(chat.messages).flat().map((m) => Number(m.ts))));
  const [upTo, setUpTo] = useState<Record<string, number>>({});
  const newest = Number(seen(chat, shown, me).at(-1)?.ts ?? 0);
  const key = me + "/" + shown;
  useEffect(() => {
    if (visible && shown && newest > 0) {
      setUpTo((old) => (old[key] === newest ? old : { ...old, [key]: newest }));
    }
  }, [key, newest, shown, visible]);
  return (channel) => {
    if (!channel || (visible && channel.id === shown)) {
      return { all: 0, loud: 0 };
    }
    const after = upTo[me + "/" + channel.id] ?? base;
    const fresh = top(seen(chat, channel.id, me)).filter((m) => Number(m.ts) > after && m.user !== me);
    return { all: fresh.length, loud: channel.im ? fresh.length : fresh.filter((m) => rings(chat, m, me)).length };
  };
}

function Sidebar({ chat, channels, spot, me, unread, go }: { chat: Chat; channels: Channel[]; spot: Spot; me: string; unread: Unread; go: (s: Spot) => void }) {
  const row = (name: ReactNode, here: boolean, channel: Channel | undefined, to: Spot) => {
    const { all, loud } = unread(channel);
    return (
      <li>
        <button type="button" aria-current={here ? "page" : undefined} className={all > 0 ? "unread" : ""} onClick={() => go(to)}>
          <span className="row-name">{name}</span>
          {all > 0 && (
            <span className={loud > 0 ? "badge loud" : "badge"} aria-label={`${all} unread`}>
              {loud || all}
            </span>
          )}
        </button>
      </li>
    );
  };
  return (
    <nav className="sidebar" aria-label="Channels">
      <h2>Channels</h2>
      <ul>
        {channels.map((c) => (
          <Keyed key={c.id}>
            {row(
              <>
                <span aria-hidden="true">{c.private ? "🔒" : "#"}</span> {c.name}
                {c.ext_shared && <span className="tag">shared outside</span>}
              </>,
              same(spot, { kind: "channel", id: c.id }),
              c,
              { kind: "channel", id: c.id },
            )}
          </Keyed>
        ))}
        {channels.length === 0 && <li className="hint">{nameOf(chat, me)} is in no channel.</li>}
      </ul>
      <h2>Direct messages and apps</h2>
      <ul>
        {row(
          <>
            <Avatar chat={chat} id={chat.bot} small /> {nameOf(chat, chat.bot)} <span className="tag">APP</span>
          </>,
          spot.kind === "app",
          directMessage(chat, me),
          { kind: "app", tab: "messages" },
        )}
      </ul>
    </nav>
  );
}

const Keyed = ({ children }: { children: ReactNode }) => <>{children}</>;

function Head({ chat, place, spot, go }: { chat: Chat; place: Place; spot: Spot; go: (s: Spot) => void }) {
  const channel = chat.channels.find((c) => c.id === place.channel);
  return (
    <header className="head">
      <h2>{place.title}</h2>
      {spot.kind === "app" ? (
        <div className="tabs" role="tablist" aria-label={place.title}>
          <Tab name="Home" on={spot.tab === "home"} choose={() => go({ kind: "app", tab: "home" })} />
          <Tab name="Messages" on={spot.tab === "messages"} choose={() => go({ kind: "app", tab: "messages" })} />
        </div>
      ) : (
        <span className="hint">
          {channel?.members.filter((id) => id !== chat.bot).length ?? 0} people{channel?.topic ? " · " + channel.topic : ""}
        </span>
      )}
    </header>
  );
}

// People is the switch between those who live in the sandbox.
function People({ chat, people, me, become }: { chat: Chat; people: User[]; me: string; become: (id: string) => void }) {
  return (
    <div className="people" role="radiogroup" aria-label="You are">
      <span className="people-label" aria-hidden="true">
        You are
      </span>
      {people.map((u) => (
        <label key={u.id} className={u.id === me ? "person on" : "person"} title={chat.people?.find((p) => p.slack_id === u.id)?.about}>
          <input type="radio" name="me" checked={u.id === me} onChange={() => become(u.id)} />
          <Avatar chat={chat} id={u.id} small />
          <span>
            <b>{u.name}</b>
            <small>{role(chat, u)}</small>
          </span>
        </label>
      ))}
    </div>
  );
}

function role(chat: Chat, u: User): string {
  const within = (handle: string) => chat.groups.find((g) => g.handle === handle)?.users.includes(u.id);
  const twin = chat.people?.find((p) => p.slack_id === u.id)?.about.includes("second account");
  return u.deleted
    ? "deactivated"
    : u.team_id !== chat.team.id
      ? "another company"
      : u.restricted || u.ultra_restricted
        ? "guest"
        : within("approvers")
          ? "may confirm"
          : within("requesters")
            ? "may ask"
            : twin
              ? "2nd account"
              : "in no group";
}

function Guide({
  world,
  chat,
  step,
  me,
  reading,
  onType,
  become,
  onThread,
  onShow,
}: {
  world: World;
  chat: Chat;
  step: Step;
  me: string;
  reading: string | undefined; // the thread that is open
  onType: (text: string) => void;
  become: (id: string) => void;
  onThread: (ts: string) => void;
  onShow: (ts: string) => void;
}) {
  const [shut, setShut] = useState(false);
  if (!world.live) {
    return <p className="guide bad">The sandbox does not answer. What you see is how it was left.</p>;
  }
  if (chat.sockets === 0) {
    return (
      <p className="guide bad">
        No bot is connected, so nobody answers. Start one in another terminal: <code>go run . run --config sandbox-data/twokey.yml</code>
      </p>
    );
  }
  if (shut || chat.users.find((u) => u.id === me)?.deleted) {
    return <span className="guide none" />;
  }
  const { command, become: other, thread, message, advance } = step;
  return (
    <section className="guide" aria-label="What to do next">
      <p>
        {step.words} {command && <code>{command}</code>}
      </p>
      <span className="action-row">
        {command && (
          <button type="button" className="bk primary" onClick={() => onType(command)}>
            Type it for me
          </button>
        )}
        {message && (
          <button type="button" className="bk" onClick={() => onShow(message)}>
            Show the card
          </button>
        )}
        {other && (
          <button type="button" className="bk primary" onClick={() => become(other)}>
            Become {nameOf(chat, other)}
          </button>
        )}
        {thread && thread !== reading && (
          <button type="button" className="bk primary" onClick={() => onThread(thread)}>
            Open the thread
          </button>
        )}
        {advance && (
          <Do className={thread === reading ? "primary" : ""} job={() => jump(advance)}>
            Jump a day ahead
          </Do>
        )}
      </span>
      <button type="button" className="close" aria-label="Hide this" onClick={() => setShut(true)}>
        ✕
      </button>
    </section>
  );
}

function Help({ people, onClose }: { people: User[]; onClose: () => void }) {
  const rows: [string, string][] = [
    ["/", "type a command"],
    ["c", "type a message"],
    ["Enter, Shift+Enter", "send, new line"],
    ["Tab", "complete a command"],
    [`1 … ${people.length}`, `become ${people.map((u) => u.name).join(", ")}`],
    ["Alt+↑, Alt+↓", "previous, next channel"],
    ["t", "open the newest thread"],
    ["h", "open the app's Home tab"],
    ["i", "go to the infrastructure"],
    ["Esc", "close the thread, a form, a menu"],
    ["?", "show this"],
  ];
  return (
    <Dialog title="Keyboard shortcuts" onClose={onClose}>
      <div className="dialog-body">
        <table className="keys">
          <tbody>
            {rows.map(([key, what]) => (
              <tr key={key}>
                <th scope="row">
                  <kbd>{key}</kbd>
                </th>
                <td>{what}</td>
              </tr>
            ))}
          </tbody>
        </table>
      </div>
    </Dialog>
  );
}

// News tells screen readers what arrived.
function News({ chat, news, me }: { chat: Chat; news: Message | null; me: string }) {
  const text = useMemo(() => {
    const channel = chat.channels.find((c) => c.id === news?.channel);
    if (!news || news.user === me || (news.ephemeral_to && news.ephemeral_to !== me) || !channel?.members.includes(me)) {
      return "";
    }
    const said = news.text.replace(/<@(\w+)>/g, (_, id) => nameOf(chat, id)).replace(/<!date\^[^|]*\|([^>]*)>/g, "$1");
    return `${nameOf(chat, news.user)}${news.ephemeral_to ? ", only to you" : ""}: ${said.slice(0, 300)}`;
  }, [chat, news, me]);
  return (
    <p className="unseen" role="log" aria-live="polite">
      {text}
    </p>
  );
}

// useShortcuts listens for keys, but not while somebody types or a dialog is open.
function useShortcuts(keys: Record<string, () => void>) {
  useEffect(() => {
    const onKey = (e: KeyboardEvent) => {
      const target = e.target as HTMLElement;
      const typing = target.matches("input:not([type=radio]), textarea, select");
      const name = (e.altKey ? "Alt+" : "") + e.key;
      if (e.ctrlKey || e.metaKey || document.querySelector("dialog[open]") || (typing && name.length === 1)) {
        return;
      }
      const job = keys[name];
      if (job && !e.defaultPrevented) {
        e.preventDefault();
        job();
      }
    };
    document.addEventListener("keydown", onKey);
    return () => document.removeEventListener("keydown", onKey);
  });
}
