import { createContext, useContext, useEffect, useRef, useState, useSyncExternalStore, type ReactNode } from "react";
import { Message as Rendered, type Block as RenderedBlock } from "slack-blocks-to-jsx";
import { words } from "./api";
import { When } from "./dates";
import { Control, Field } from "./elements";
import type { Block, Chat, Element, Text } from "./types";

// Surface is where blocks stand: a message, a modal or a Home tab.
export interface Surface {
  // act presses a button or chooses from a menu; it throws what the person is told.
  act: (block: string, action: string, value?: unknown) => Promise<void>;
  // form holds what was entered into a modal's inputs.
  form?: Form;
}

export interface Form {
  value: (block: string, action: string) => unknown;
  enter: (block: string, action: string, value: unknown) => void;
  errors: Record<string, string>;
}

// Names resolves what mentions point at.
export const Names = createContext<Chat | null>(null);

// Blocks shows Block Kit. What only is to be read is rendered by
// slack-blocks-to-jsx; what can be used is ours, since the renderer calls nobody.
export function Blocks({ blocks, surface }: { blocks: Block[]; surface: Surface }) {
  const parts: ReactNode[] = [];
  let passive: Block[] = [];
  const flush = () => {
    if (passive.length > 0) {
      parts.push(<Passive key={parts.length} blocks={passive} />);
      passive = [];
    }
  };
  for (const [i, b] of blocks.entries()) {
    if (b.type === "actions" || b.type === "input" || (b.type === "section" && usable(b.accessory))) {
      flush();
      parts.push(<Usable key={"u" + i} block={b} surface={surface} />);
    } else {
      passive.push(b);
    }
  }
  flush();
  return <div className="blocks">{parts}</div>;
}

const usable = (e?: Element) => e !== undefined && e.type !== "image";

// Mrkdwn shows Slack's mark-up.
export function Mrkdwn({ text }: { text: string }) {
  return <Passive blocks={[{ type: "section", block_id: "", text: { type: "mrkdwn", text: text || " " } }]} />;
}

export const Plain = ({ text }: { text?: Text | undefined }) => <Emoji text={text?.text ?? ""} />;

// Emoji shows the few signs that texts of buttons and labels have.
function Emoji({ text }: { text: string }) {
  return /:[a-z0-9_+-]+:/.test(text) ? (
    <span className="inline">
      <Passive blocks={[{ type: "context", block_id: "", elements: [{ type: "plain_text", action_id: "", text }] as unknown as Element[] }]} />
    </span>
  ) : (
    <>{text}</>
  );
}

const dark = matchMedia("(prefers-color-scheme: dark)");
const watchDark = (f: () => void) => {
  dark.addEventListener("change", f);
  return () => dark.removeEventListener("change", f);
};

function Passive({ blocks }: { blocks: Block[] }) {
  const chat = useContext(Names);
  const isDark = useSyncExternalStore(watchDark, () => dark.matches);
  const box = useRef<HTMLDivElement>(null);
  useEffect(() => {
    // An id may stand in a document once, and a card stands in its channel and its thread.
    for (const e of box.current?.querySelectorAll("[id]") ?? []) {
      e.removeAttribute("id");
    }
  });
  return (
    <div ref={box} className="passive">
      <Rendered
        blocks={JSON.parse(JSON.stringify(blocks, read)) as RenderedBlock[]}
        withoutWrapper
        name=""
        logo=""
        theme={isDark ? "dark" : "light"}
        hooks={{
          user: ({ id, name }) => <Mention sign="@" name={chat?.users.find((u) => u.id === id)?.name ?? name ?? id} />,
          channel: ({ id, name }) => <Mention sign="#" name={chat?.channels.find((c) => c.id === id)?.name ?? name ?? id} />,
          usergroup: ({ id, name }) => <Mention sign="@" name={chat?.groups.find((g) => g.id === id)?.handle ?? name ?? id} />,
          atHere: () => <Mention sign="@" name="here" />,
          atChannel: () => <Mention sign="@" name="channel" />,
          atEveryone: () => <Mention sign="@" name="everyone" />,
          date: ({ timestamp, format, fallback }) => <When seconds={Number(timestamp)} format={format} fallback={fallback} />,
          link: ({ href, children }) => (
            <a href={href} target="_blank" rel="noreferrer">
              {children}
            </a>
          ),
        }}
      />
    </div>
  );
}

// read leaves out the ids, and "verbatim": Slack formats such text all the same, and
// only makes no links of bare names, which the sandbox never does.
const read = (key: string, value: unknown) => (key === "verbatim" || key === "block_id" ? undefined : value);

const Mention = ({ sign, name }: { sign: string; name: string }) => <span className="mention">{sign + name.replace(/^[@#]/, "")}</span>;

// Usable is a block with something to press, choose or fill in. What goes wrong is
// told below it.
function Usable({ block, surface }: { block: Block; surface: Surface }) {
  const [pending, setPending] = useState("");
  const [trouble, setTrouble] = useState("");
  const act = async (element: Element, value?: unknown) => {
    setPending(element.action_id);
    setTrouble("");
    try {
      await surface.act(block.block_id, element.action_id, value);
    } catch (e) {
      setTrouble(words(e));
    } finally {
      setPending("");
    }
  };
  const control = (e: Element) => (
    <Control key={e.action_id} element={e} disabled={pending !== ""} pending={pending === e.action_id} onAct={(value) => act(e, value)} />
  );
  return (
    <div className={"usable " + block.type}>
      {block.type === "input" && block.element ? (
        <Field
          block={block}
          element={block.element}
          form={surface.form}
          onDispatch={(value) => block.dispatch_action && block.element && act(block.element, value)}
        />
      ) : block.type === "section" ? (
        <div className="section-row">
          <Passive blocks={[{ ...block, accessory: undefined } as unknown as Block]} />
          {block.accessory && control(block.accessory)}
        </div>
      ) : (
        <div className="action-row" role="group">
          {block.elements?.map(control)}
        </div>
      )}
      {trouble && (
        <p className="trouble" role="alert">
          {trouble}
        </p>
      )}
    </div>
  );
}
