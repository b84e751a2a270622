import { useEffect, useState, type ReactNode } from "react";
import { call, post, words } from "./api";
import { Spinner } from "./elements";
import type { Fault, Health, Overview, Secret } from "./types";

// Systems is what stands behind the chat: the clock, the secrets with all that
// they are tied to, and what can be broken.
export function Systems({ overview, ahead, shared }: { overview: Overview | null; ahead: number; shared: boolean }) {
  const [tab, setTab] = useState<"secrets" | "break">("secrets");
  const trouble = overview ? overview.trouble.faults.length + Object.values(overview.trouble.latency).filter((d) => d !== "0s").length : 0;
  return (
    <>
      <Clock ahead={ahead} shared={shared} />
      <div className="tabs" role="tablist" aria-label="Infrastructure">
        <Tab name="Secrets" on={tab === "secrets"} choose={() => setTab("secrets")} />
        <Tab name={trouble > 0 ? `Break things (${trouble})` : "Break things"} on={tab === "break"} choose={() => setTab("break")} />
      </div>
      <div className="scroll" role="tabpanel" tabIndex={0} aria-label={tab === "secrets" ? "Secrets" : "Break things"}>
        {!overview ? <p className="empty">Looking…</p> : tab === "secrets" ? <Secrets secrets={overview.secrets} /> : <Breakage overview={overview} />}
      </div>
    </>
  );
}

export function Tab({ name, on, choose }: { name: string; on: boolean; choose: () => void }) {
  return (
    <button type="button" role="tab" aria-selected={on} onClick={choose}>
      {name}
    </button>
  );
}

// Do is a button that calls the sandbox, and tells in place how that went.
export function Do({ children, title, job, className }: { children: ReactNode; title?: string; job: () => Promise<unknown>; className?: string }) {
  const [state, setState] = useState<"" | "pending" | "done">("");
  const [trouble, setTrouble] = useState("");
  useEffect(() => {
    if (state === "done") {
      const t = setTimeout(() => setState(""), 1500);
      return () => clearTimeout(t);
    }
    return undefined;
  }, [state]);
  return (
    <>
      <button
        type="button"
        className={"bk " + (className ?? "")}
        title={title}
        disabled={state === "pending"}
        aria-busy={state === "pending"}
        onClick={async () => {
          setState("pending");
          setTrouble("");
          try {
            await job();
            setState("done");
          } catch (e) {
            setTrouble(words(e));
            setState("");
          }
        }}
      >
        {children}
        {state === "pending" && <Spinner />}
        {state === "done" && <span aria-label="done"> ✓</span>}
      </button>
      {trouble && (
        <p className="trouble" role="alert">
          {trouble}
        </p>
      )}
    </>
  );
}

const moment = new Intl.DateTimeFormat(undefined, { weekday: "short", day: "numeric", month: "short", year: "numeric", hour: "2-digit", minute: "2-digit", second: "2-digit" });
const date = new Intl.DateTimeFormat(undefined, { day: "numeric", month: "short", year: "numeric" });
const hour = new Intl.DateTimeFormat(undefined, { hour: "2-digit", minute: "2-digit", second: "2-digit" });

export const jump = (advance: string) => post("clock", { advance });

function Clock({ ahead, shared }: { ahead: number; shared: boolean }) {
  const [now, setNow] = useState(Date.now());
  useEffect(() => {
    const t = setInterval(() => setNow(Date.now()), 1000);
    return () => clearInterval(t);
  }, []);
  return (
    <section className="clock" aria-label="The sandbox's clock">
      <p>
        <time>{moment.format(new Date(now + ahead))}</time>
        <small>{Math.abs(ahead) < 60_000 ? "real time" : `${span(ahead)} ahead`}</small>
      </p>
      <div className="action-row" role="group" aria-label="Jump ahead">
        {[
          ["15 min", "15m"],
          ["1 h", "1h"],
          ["1 day", "24h"],
          ["1 week", "168h"],
          ["30 days", "720h"],
        ].map(([name, advance]) => (
          <Do key={name} title={`The clock jumps ${name} ahead`} job={() => jump(advance!)}>
            +{name}
          </Do>
        ))}
      </div>
      {!shared && <p className="hint">The bot runs by its own machine's clock.</p>}
    </section>
  );
}

function span(ms: number): string {
  const minutes = Math.round(ms / 60_000);
  const parts = [
    [Math.floor(minutes / 1440), "d"],
    [Math.floor((minutes % 1440) / 60), "h"],
    [minutes % 60, "min"],
  ] as const;
  return parts.filter(([n]) => n > 0).map(([n, unit]) => `${n} ${unit}`).join(" ");
}

const marks: Record<Health, { sign: string; name: string }> = {
  well: { sign: "✓", name: "well" },
  expiring: { sign: "◔", name: "ends soon" },
  unsettled: { sign: "↻", name: "changing" },
  broken: { sign: "✕", name: "broken" },
};

function Secrets({ secrets }: { secrets: Secret[] }) {
  // What is in motion opens by itself, until somebody closes it.
  const [chosen, setChosen] = useState<Record<string, boolean>>({});
  return (
    <ul className="secrets">
      {secrets.map((s) => {
        const open = chosen[s.name] ?? (s.health === "unsettled" || s.health === "broken");
        const mark = marks[s.health];
        return (
          <li key={s.name} className={"secret " + s.health}>
            <button type="button" className="secret-head" aria-expanded={open} onClick={() => setChosen({ ...chosen, [s.name]: !open })}>
              <span className="mark" title={mark.name}>
                <span aria-hidden="true">{mark.sign}</span>
              </span>
              <span className="secret-name">{s.name}</span>
              <span className="secret-words">{mark.name}</span>
              <span className="turn" aria-hidden="true">{open ? "▾" : "▸"}</span>
            </button>
            {open && <Detail secret={s} />}
          </li>
        );
      })}
    </ul>
  );
}

function Detail({ secret: s }: { secret: Secret }) {
  return (
    <div className="detail">
      <p className="why">{s.words.replace(/\.$/, "")}.</p>
      {s.disabled && <p className="trouble">The application is disabled: it gets no tokens.</p>}
      <h3>Keys in Entra</h3>
      <ul>
        {s.keys.map((k) => (
          <li key={k.id} className={k.removed ? "gone" : ""}>
            <code title={k.id}>{k.id.slice(0, 8)}</code> {k.name}
            <Tags>
              {k.removed ? <Chip>removed {hour.format(new Date(k.removed))}</Chip> : k.works ? <Chip good>works</Chip> : <Chip bad title={k.reason}>does not work</Chip>}
              {k.live && <Chip good>in the live parameter</Chip>}
              {!k.removed && <Chip>ends {date.format(new Date(k.end))}</Chip>}
            </Tags>
          </li>
        ))}
      </ul>
      <h3>Parameters in SSM</h3>
      <ul>
        {s.parameters.map((p) => (
          <li key={p.name}>
            <code title={p.name}>{p.name.split("/").at(-1)}</code> version {p.version}
            <Tags>
              <Chip>{p.type}</Chip>
              <Chip title={`by ${p.by}`}>written {date.format(new Date(p.modified))}</Chip>
                          </Tags>
          </li>
        ))}
      </ul>
      <h3>Service in ECS</h3>
      <ul>
        {s.service.deployments.map((d) => (
          <li key={d.id}>
            <code title={d.id}>{d.id.split("/").at(-1)?.slice(-6)}</code> deployment {d.status === "PRIMARY" ? "" : d.status.toLowerCase()}
            <Tags>
              <Chip good={d.rollout === "COMPLETED"} bad={d.rollout === "FAILED"} title={d.reason}>
                {d.rollout.toLowerCase().replaceAll("_", " ")}
              </Chip>
              {d.failed > 0 && <Chip bad>{d.failed} tasks failed</Chip>}
            </Tags>
          </li>
        ))}
        {s.service.tasks.map((t) => (
          <li key={t.id}>
            <code title={t.id}>{t.id.slice(0, 6)}</code> task {t.status.toLowerCase()}
            <Tags>
              <Chip good={t.live} bad={!t.live}>{t.live ? "has the live secret" : "has an older secret"}</Chip>
              {t.health !== "HEALTHY" && <Chip bad={t.health === "UNHEALTHY"}>{t.health.toLowerCase()}</Chip>}
            </Tags>
          </li>
        ))}
      </ul>
      <h3>
        Tokens: {s.tokens.granted} granted, {s.tokens.refused} refused
      </h3>
      <ul>
        {s.tokens.recent.map((t, i) => (
          <li key={i}>
            <time>{hour.format(new Date(t.at))}</time> key <code>{t.key_id ? t.key_id.slice(0, 8) : "unknown"}</code>
            <Tags>
              {t.refusal ? <Chip bad>{t.refusal}</Chip> : <Chip good>granted</Chip>}
              {!t.from.startsWith("127.") && <Chip bad>from {t.from}</Chip>}
            </Tags>
          </li>
        ))}
      </ul>
      <p className={s.gaps.length > 0 ? "trouble" : "hint"}>
        {s.gaps.length === 0
          ? "Every task could always get a token."
          : `${s.gaps.length === 1 ? "Once" : `${s.gaps.length} times`} a task could get no token: ${s.gaps.at(-1)?.why}`}
      </p>
    </div>
  );
}

const Tags = ({ children }: { children: ReactNode }) => <span className="chips">{children}</span>;

const Chip = ({ good, bad, title, children }: { good?: boolean; bad?: boolean; title?: string | undefined; children: ReactNode }) => (
  <span className={"chip" + (good ? " good" : bad ? " bad" : "")} title={title}>
    {children}
  </span>
);

interface Mishap {
  name: string;
  about: string;
  job: (s: Secret) => Promise<unknown>;
}

const fault = (f: Fault) => post("faults", f);
const of = (s: Secret) => ({ environment: s.environment, server: s.server });
const behaviour = (s: Secret, b: object) => call("PUT", `aws/services/${s.service.cluster}/${s.service.name}/behaviour`, b);

// mishaps are what the sandbox's README can set, in words. Those with a secret in
// their name happen to the chosen one.
const mishaps: { title: string; list: Mishap[] }[] = [
  {
    title: "Entra",
    list: [
      { name: "Replicas lag", about: "New keys are known after 4 s here and 18 s there; removed ones work on for a minute.", job: () => call("PUT", "entra/behaviour", { learn: [4, 18], forget: [0, 60] }) },
      { name: "Lose the answer to the next new key", about: "The key is made, the connection ends: the bot has to find out.", job: () => fault({ operation: "graph.addPassword", kind: "cut_after", count: 1 }) },
      { name: "Refuse the next tokens", about: "The next three requests for a token are refused: the MCP servers' too.", job: () => fault({ operation: "entra.token", kind: "refuse", count: 3 }) },
    ],
  },
  {
    title: "AWS",
    list: [
      { name: "Forbid writing parameters", about: "The next PutParameter is refused: AccessDeniedException.", job: () => fault({ operation: "ssm.PutParameter", kind: "refuse", code: "AccessDeniedException", count: 1 }) },
      { name: "Lose the answer to the next roll-out", about: "UpdateService takes effect, its answer is lost.", job: () => fault({ operation: "ecs.UpdateService", kind: "cut_after", count: 1 }) },
      { name: "The service gets stuck", about: "New tasks of this service stay PENDING, as without capacity.", job: (s) => behaviour(s, { stuck: true, fail_tasks: 0 }) },
      { name: "Its next two tasks fail", about: "They stop before they are healthy.", job: (s) => behaviour(s, { stuck: false, fail_tasks: 2 }) },
    ],
  },
  {
    title: "MCP server",
    list: [
      { name: "Its tool answers with an error", about: "tools/call of this server says that the project is locked.", job: (s) => post("mcp/settings", { ...of(s), tool_error: "the project is locked" }) },
      { name: "It is unhealthy", about: "Its /health answers 503, and ECS replaces its tasks.", job: (s) => post("mcp/settings", { ...of(s), unhealthy: true }) },
      { name: "It is slow", about: "Every call of this server takes two seconds.", job: (s) => post("mcp/settings", { ...of(s), slow: "2s" }) },
    ],
  },
  {
    title: "Slack and the network",
    list: [
      { name: "Cut the bot's sockets", about: "Without a word. The bot has to notice, and Slack delivers again.", job: () => post("slack/socket", { disconnect: "cut" }) },
      { name: "Throttle the next messages", about: "The next three are refused for two seconds each.", job: () => fault({ operation: "slack.chat.postMessage", kind: "throttle", retry_after: 2, count: 3 }) },
      { name: "Deliver the next two clicks twice", about: "As Slack does when it is unsure.", job: () => post("slack/deliver", { duplicate: 2 }) },
      { name: "Make everything slow", about: "Every call of every vendor takes 300 ms more.", job: () => post("latency", { operation: "*", latency: "300ms" }) },
    ],
  },
  {
    title: "Somebody else",
    list: [
      { name: "An intruder steals the secret", about: "They read its parameter from 203.0.113.66 and ask for tokens with the copy until it dies.", job: (s) => post("intruder", { secret: s.name, every: "1s" }) },
      { name: "Somebody adds a key by hand", about: "A key that the bot did not make appears in the portal.", job: (s) => post(`entra/applications/${s.client_id}/passwords`, { name: "made by hand" }) },
    ],
  },
];

function Breakage({ overview }: { overview: Overview }) {
  const [name, setName] = useState("sharepoint/prod");
  const secret = overview.secrets.find((s) => s.name === name) ?? overview.secrets[0];
  const { faults, latency } = overview.trouble;
  const slow = Object.entries(latency).filter(([, d]) => d !== "0s");
  const stuck = overview.secrets.filter((s) => s.service.behaviour.stuck || s.service.behaviour.fail_tasks > 0);
  const lags = (overview.directory.learn?.length ?? 0) > 0;
  if (!secret) {
    return null;
  }
  return (
    <div className="break">
      <div className="mend">
        <Do className="primary" job={mend}>
          Mend everything
        </Do>
        <label>
          Happens to{" "}
          <select value={secret.name} onChange={(e) => setName(e.target.value)}>
            {overview.secrets.map((s) => (
              <option key={s.name}>{s.name}</option>
            ))}
          </select>
        </label>
      </div>
      <section aria-label="What is set to go wrong">
        <h3>Set to go wrong</h3>
        <ul className="set">
          {faults.map((f, i) => (
            <li key={i}>
              <code>{f.operation}</code> {f.kind.replace("_", " ")}
              {f.count ? `, ${f.count} left` : ", until mended"}
            </li>
          ))}
          {slow.map(([operation, d]) => (
            <li key={operation}>
              <code>{operation}</code> takes {d} more
            </li>
          ))}
          {stuck.map((s) => (
            <li key={s.name}>
              <code>{s.name}</code> {s.service.behaviour.stuck ? "is stuck" : `loses its next ${s.service.behaviour.fail_tasks} tasks`}
            </li>
          ))}
          {lags && <li>Entra's replicas lag</li>}
          {overview.intruder.secret && (
            <li>
              {overview.intruder.running ? "An intruder is at" : "An intruder was at"} <code>{overview.intruder.secret}</code>: {overview.intruder.tokens} tokens, {overview.intruder.refusals}{" "}
              refusals
            </li>
          )}
          {faults.length + slow.length + stuck.length === 0 && !lags && !overview.intruder.secret && <li className="hint">Nothing.</li>}
        </ul>
      </section>
      {mishaps.map((g) => (
        <section key={g.title} aria-label={g.title}>
          <h3>{g.title}</h3>
          {g.list.map((m) => (
            <div key={m.name} className="mishap">
              <Do job={() => m.job(secret)}>{m.name}</Do>
              <p className="hint">{m.about}</p>
            </div>
          ))}
        </section>
      ))}
      <OwnFault />
    </div>
  );
}

async function mend() {
  await call("DELETE", "intruder");
  await post("clear", {});
}

// OwnFault sets any fault that the control API knows.
function OwnFault() {
  const [operation, setOperation] = useState("graph.removePassword");
  const [kind, setKind] = useState("error");
  const [count, setCount] = useState("1");
  return (
    <section aria-label="Any other fault">
      <h3>Any other fault</h3>
      <div className="own">
        <label>
          Call <input value={operation} spellCheck={false} onChange={(e) => setOperation(e.target.value)} />
        </label>
        <label>
          Fault{" "}
          <select value={kind} onChange={(e) => setKind(e.target.value)}>
            {["refuse", "throttle", "error", "timeout", "cut_before", "cut_after", "nonsense"].map((k) => (
              <option key={k} value={k}>
                {k.replace("_", " ")}
              </option>
            ))}
          </select>
        </label>
        <label>
          Times <input inputMode="numeric" size={3} value={count} onChange={(e) => setCount(e.target.value)} />
        </label>
        <Do job={() => fault({ operation: operation.trim(), kind, count: Number(count) || 0 })}>Set</Do>
      </div>
      <p className="hint">0 times is until it is mended. Names are those of the vendors' calls; * is every call.</p>
    </section>
  );
}
