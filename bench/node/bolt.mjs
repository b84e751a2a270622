// A Bolt app in Socket Mode that does nothing but acknowledge: what the bot is
// measured against. Its addresses and tokens come from the environment.
import bolt from '@slack/bolt';

const { SLACK_API_URL, SLACK_APP_TOKEN, SLACK_BOT_TOKEN } = process.env;
const app = new bolt.App({
  token: SLACK_BOT_TOKEN,
  appToken: SLACK_APP_TOKEN,
  socketMode: true,
  clientOptions: { slackApiUrl: SLACK_API_URL },
  logLevel: 'error',
});
app.command(/.*/, async ({ ack }) => {
  await ack();
});
await app.start();
