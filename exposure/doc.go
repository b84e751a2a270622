// Package exposure finds out what happened to one secret in a window of time:
// who read and wrote its parameters, who got tokens with it from where, and what
// was changed on its application. Each event is held against what the record
// explains, what nobody explains comes first, and what was not looked at is
// said: silence is never taken for innocence.
package exposure
