// What the sandbox sends; sandbox/page.go and sandbox/overview.go have the same.

export interface User {
  id: string;
  team_id: string;
  name: string;
  real_name: string;
  deleted: boolean;
  restricted: boolean;
  ultra_restricted: boolean;
  bot: boolean;
}

export interface Group {
  id: string;
  handle: string;
  name: string;
  users: string[];
}

export interface Channel {
  id: string;
  name: string;
  members: string[];
  topic: string;
  private: boolean;
  archived: boolean;
  ext_shared: boolean;
  im: boolean;
  user?: string;
}

export interface Text {
  type: string;
  text: string;
}

export interface Confirm {
  title: Text;
  text: Text;
  confirm: Text;
  deny: Text;
  style?: string;
}

export interface Option {
  text: Text;
  value: string;
  description?: Text;
}

// Element is anything that can be used in a block; which members there are
// depends on its type.
export interface Element {
  type: string;
  action_id: string;
  text?: Text;
  value?: string;
  url?: string;
  style?: string;
  confirm?: Confirm;
  placeholder?: Text;
  options?: Option[];
  option_groups?: { label: Text; options: Option[] }[];
  initial_option?: Option;
  initial_options?: Option[];
  initial_date?: string;
  initial_time?: string;
  initial_date_time?: number;
  initial_user?: string;
  initial_channel?: string;
  initial_conversation?: string;
  multiline?: boolean;
  max_length?: number;
  is_decimal_allowed?: boolean;
}

export interface Block {
  type: string;
  block_id: string;
  text?: Text;
  fields?: Text[];
  elements?: Element[];
  accessory?: Element;
  element?: Element;
  label?: Text;
  hint?: Text;
  optional?: boolean;
  dispatch_action?: boolean;
}

export interface Message {
  channel: string;
  ts: string;
  thread_ts?: string;
  user: string;
  bot_id?: string;
  text: string;
  blocks?: Block[];
  reply_broadcast?: boolean;
  ephemeral_to?: string;
  edited_ts?: string;
  deleted?: boolean;
  reactions?: Record<string, string[]>;
  mentions?: string[];
  files?: string[];
  posted_at: string;
}

export type ViewState = Record<string, Record<string, Record<string, unknown>>>;

export interface View {
  id: string;
  user: string;
  type: string;
  title?: string;
  submit?: string;
  blocks: Block[];
  state: ViewState;
}

export interface Screen {
  modals: View[];
  home: View | null;
}

export interface Command {
  command: string;
  description: string;
  usage: string;
}

export interface Shortcut {
  name: string;
  description: string;
  callback_id: string;
  message: boolean;
}

export interface Chat {
  started: string;
  team: { id: string; name: string };
  app: { commands: Command[] | null; shortcuts: Shortcut[] | null; home_tab: boolean; clock: boolean };
  bot: string;
  sockets: number;
  people: { name: string; slack_id: string; about: string }[];
  users: User[];
  groups: Group[];
  channels: Channel[];
  messages: Record<string, Message[]>;
  screens: Record<string, Screen>;
}

export type Health = "broken" | "unsettled" | "expiring" | "well";

export interface Secret {
  name: string;
  server: string;
  environment: string;
  health: Health;
  words: string;
  client_id: string;
  disabled: boolean;
  keys: {
    id: string;
    name: string;
    start: string;
    end: string;
    removed?: string;
    works: boolean;
    reason?: string;
    live: boolean;
    former: boolean;
  }[];
  parameters: { name: string; version: number; type: string; labels: string[] | null; modified: string; by: string }[];
  service: {
    cluster: string;
    name: string;
    desired: number;
    deployments: { id: string; status: string; rollout: string; reason: string; created: string; failed: number }[];
    tasks: { id: string; status: string; health: string; created: string; live: boolean }[];
    behaviour: { stuck: boolean; fail_tasks: number };
  };
  tokens: { granted: number; refused: number; recent: { at: string; key_id: string; refusal?: string; from: string }[] };
  gaps: { from: string; until?: string; down: boolean; why: string }[];
}

export interface Fault {
  operation: string;
  kind: string;
  skip?: number;
  count?: number;
  code?: string;
  retry_after?: number;
  delay?: string;
}

export interface Overview {
  secrets: Secret[];
  trouble: { faults: Fault[]; latency: Record<string, string> };
  directory: { learn: number[] | null; forget: number[] | null; read: number[] | null };
  intruder: { secret?: string; running: boolean; tokens: number; refusals: number; words?: string; trouble?: string; address?: string };
}
