// Package bot is twokey's side of Slack: it takes what people do over two Socket
// Mode connections, makes it durable before it acknowledges, looks people and
// channels up, and posts what people must be told. It decides nothing, and it is
// the only package that knows slack-go.
package bot
