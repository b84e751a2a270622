// Slack's own Node clients against the stand-in for Slack. Started by the Go
// test beside it, which gives the addresses and tokens in the environment.
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { after, before, test } from 'node:test';
import bolt from '@slack/bolt';
import { SocketModeClient } from '@slack/socket-mode';
import { WebClient, WebClientEvent } from '@slack/web-api';

const { SLACK_API_URL, SLACK_BOT_TOKEN, SLACK_APP_TOKEN, SANDBOX_CONTROL } = process.env;
const options = { slackApiUrl: SLACK_API_URL };
const web = new WebClient(SLACK_BOT_TOKEN, options);
let channel;

async function play(path, body) {
  const response = await fetch(SANDBOX_CONTROL + path, { method: 'POST', body: JSON.stringify(body) });
  const answer = await response.json();
  assert.equal(response.status, 200, JSON.stringify(answer));
  return answer;
}

async function look(path) {
  return (await fetch(SANDBOX_CONTROL + path)).json();
}

// until looks again until there is something, or the test's time is up.
async function until(t, find) {
  for (;;) {
    t.signal.throwIfAborted();
    const found = await find();
    if (found) return found;
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}

const text = (t) => ({ type: 'plain_text', text: t });
const button = (id) => ({ type: 'button', action_id: id, text: text(id), value: `value of ${id}` });
const modal = {
  type: 'modal', callback_id: 'rotate', title: text('Rotate'), submit: text('Ask'),
  blocks: [{ type: 'input', block_id: 'why', label: text('Reason'), element: { type: 'plain_text_input', action_id: 'reason' } }],
};

before(async () => {
  channel = (await web.conversations.list()).channels.find((c) => c.name === 'platform-ops').id;
});

test('WebClient posts, updates and reads messages with metadata', { timeout: 20_000 }, async () => {
  const who = await web.auth.test();
  assert.ok(who.response_metadata.scopes.includes('chat:write'));
  const metadata = { event_type: 'step', event_payload: { operation: 'k7m2p9' } };
  const card = await web.chat.postMessage({ channel, text: 'card', blocks: [{ type: 'actions', elements: [button('go')] }], metadata });
  await web.chat.postMessage({ channel, text: 'step 1', thread_ts: card.ts, metadata });
  await web.chat.update({ channel, ts: card.ts, text: 'decided' });
  const thread = await web.conversations.replies({ channel, ts: card.ts, include_all_metadata: true });
  assert.deepEqual(thread.messages.map((m) => m.text), ['decided', 'step 1']);
  assert.equal(thread.messages[0].blocks, undefined);
  assert.equal(thread.messages[1].metadata.event_payload.operation, 'k7m2p9');
  const history = await web.conversations.history({ channel, limit: 1 });
  assert.equal(history.messages[0].text, 'decided');
  assert.equal(history.messages[0].metadata, undefined);
  await web.chat.delete({ channel, ts: card.ts });
});

test('WebClient is told what is wrong with blocks', { timeout: 20_000 }, async () => {
  const blocks = [{ type: 'section', text: { type: 'mrkdwn', text: 'x'.repeat(3001) } }];
  await assert.rejects(web.chat.postMessage({ channel, text: 'x', blocks }), (err) => {
    assert.equal(err.data.error, 'invalid_blocks');
    assert.deepEqual(err.data.response_metadata.messages, ['[ERROR] must be less than 3001 characters [json-pointer:/blocks/0/text/text]']);
    return true;
  });
  await assert.rejects(web.chat.postMessage({ channel: 'C0NOWHERE00', text: 'x' }), /channel_not_found/);
  await assert.rejects(new WebClient('xoxb-wrong', options).auth.test(), /invalid_auth/);
});

test('WebClient schedules a message, lists it and takes it back', { timeout: 20_000 }, async () => {
  const inDays = (n) => Math.floor(Date.now() / 1000) + n * 24 * 60 * 60;
  const blocks = [{ type: 'actions', elements: [button('later')] }];
  const planned = await web.chat.scheduleMessage({ channel, text: 'later', blocks, post_at: inDays(100) });
  assert.match(planned.scheduled_message_id, /^Q/);
  const listed = await web.chat.scheduledMessages.list({ channel });
  assert.deepEqual(listed.scheduled_messages.map((m) => [m.id, m.text]), [[planned.scheduled_message_id, 'later']]);
  const gone = { channel, scheduled_message_id: planned.scheduled_message_id };
  await web.chat.deleteScheduledMessage(gone);
  assert.deepEqual((await web.chat.scheduledMessages.list({ channel })).scheduled_messages, []);
  await assert.rejects(web.chat.deleteScheduledMessage(gone), /invalid_scheduled_message_id/);
  await assert.rejects(web.chat.scheduleMessage({ channel, text: 'x', post_at: inDays(-1) }), /time_in_past/);
  await assert.rejects(web.chat.scheduleMessage({ channel, text: 'x', post_at: inDays(121) }), /time_too_far/);
  await assert.rejects(web.chat.scheduleMessage({ channel, text: 'x', post_at: 'soon' }), /invalid_time/);
  await assert.rejects(web.chat.scheduleMessage({ channel, text: 'x', blocks: [{ type: 'nonsense' }], post_at: inDays(100) }), /invalid_blocks/);
  const shown = await web.conversations.history({ channel });
  assert.ok(!shown.messages.some((m) => m.text === 'later'), 'what was scheduled is to be seen');
});

test('WebClient waits out a rate limit and gets everything through', { timeout: 30_000 }, async () => {
  let limited = 0;
  web.on(WebClientEvent.RATE_LIMITED, () => { limited += 1; });
  for (let i = 0; i < 8; i += 1) await web.chat.postMessage({ channel, text: `burst ${i}` });
  assert.ok(limited > 0, 'no limit was met');
  const seen = (await look(`messages?channel=${channel}`)).filter((m) => m.text.startsWith('burst'));
  assert.equal(seen.length, 8);
});

test('WebClient uploads a file', { timeout: 20_000 }, async (t) => {
  const done = await web.filesUploadV2({ channel_id: channel, filename: 'audit.csv', content: 'a,b\n', initial_comment: 'the record' });
  assert.equal(done.ok, true);
  await until(t, async () => (await look(`messages?channel=${channel}`)).find((m) => m.text === 'the record' && m.files.length === 1));
});

test('SocketModeClient takes commands, and comes back after a disconnect', { timeout: 60_000 }, async () => {
  const client = new SocketModeClient({ appToken: SLACK_APP_TOKEN, clientOptions: options, clientPingTimeout: 500 });
  const got = [];
  client.on('slash_commands', async ({ ack, body }) => { got.push(body); await ack(); });
  await client.start();
  try {
    const command = { user: 'alice', channel, command: '/rotate', text: 'jira prod' };
    const first = await play('command', command);
    assert.equal(first.acked, true);
    assert.equal(got[0].text, 'jira prod');
    assert.equal(got[0].user_name, 'alice');
    for (const reason of ['warning', 'refresh_requested']) {
      const back = once(client, 'connected');
      await play('socket', { disconnect: reason });
      await back;
      assert.equal((await play('command', command)).acked, true, reason);
    }
  } finally {
    await client.disconnect();
  }
});

test('SocketModeClient notices a half-open socket and connects again', { timeout: 60_000 }, async (t) => {
  const client = new SocketModeClient({ appToken: SLACK_APP_TOKEN, clientOptions: options, clientPingTimeout: 500, serverPingTimeout: 1500 });
  await client.start();
  try {
    const back = once(client, 'connected');
    await play('socket', { disconnect: 'half_open' });
    await back;
  } finally {
    await client.disconnect();
    await until(t, async () => (await look('sockets')).every((s) => s.half_open));
    await play('socket', { disconnect: 'cut' });
  }
});

test('Bolt plays a command, a modal, a button and the Home tab', { timeout: 60_000 }, async (t) => {
  const app = new bolt.App({ token: SLACK_BOT_TOKEN, appToken: SLACK_APP_TOKEN, socketMode: true, clientOptions: options });
  app.command('/rotate', async ({ ack, client, body }) => {
    await ack();
    await client.views.open({ trigger_id: body.trigger_id, view: modal });
  });
  app.view('rotate', async ({ ack, client, view, body }) => {
    const reason = view.state.values.why.reason.value;
    if (reason === 'because') {
      await ack({ response_action: 'errors', errors: { why: 'Say more.' } });
      return;
    }
    await ack();
    await client.chat.postMessage({ channel, text: `${body.user.name}: ${reason}`, blocks: [{ type: 'actions', elements: [button('confirm')] }] });
  });
  app.action('confirm', async ({ ack, respond, action, body }) => {
    await ack();
    await respond({ replace_original: true, text: `confirmed by ${body.user.name} with ${action.value}` });
    await respond({ response_type: 'ephemeral', replace_original: false, text: 'thank you' });
  });
  app.event('app_home_opened', async ({ client, event }) => {
    await client.views.publish({ user_id: event.user, view: { type: 'home', blocks: [{ type: 'header', text: text('Secrets') }] } });
  });
  await app.start();
  try {
    const asked = await play('command', { user: 'alice', channel, command: '/rotate', wait_ms: 5000 });
    assert.equal(asked.view.title, 'Rotate');
    const empty = await play('submit', { user: 'alice', values: {} });
    assert.ok(empty.errors.why, 'the client lets an empty required input through');
    const refused = await play('submit', { user: 'alice', values: { reason: 'because' } });
    assert.deepEqual(refused.errors, { why: 'Say more.' });
    const sent = await play('submit', { user: 'alice', values: { reason: 'it expires' } });
    assert.equal(sent.acked, true);
    assert.equal(sent.view, undefined);

    const card = await until(t, async () => (await look(`messages?channel=${channel}`)).find((m) => m.text === 'alice: it expires'));
    const clicked = await play('click', { user: 'bob', channel, message_ts: card.ts, action_id: 'confirm', wait_ms: 5000 });
    assert.equal(clicked.acked, true);
    assert.equal(clicked.ephemeral[0].text, 'thank you');
    const edited = (await look(`messages?channel=${channel}`)).find((m) => m.ts === card.ts);
    assert.equal(edited.text, 'confirmed by bob with value of confirm');
    assert.equal(edited.actions, undefined);

    await play('home', { user: 'carol' });
    await until(t, async () => (await look('views?user=carol')).home);
  } finally {
    await app.stop();
  }
});

after(() => web.removeAllListeners());
