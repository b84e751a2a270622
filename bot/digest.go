package bot

import (
	"fmt"
	"time"

	"github.com/slack-go/slack"

	"github.com/twokey/twokey/operation"
)

// DigestMessage tells a weekly digest: what is urgent, and what was done. What
// expires when stands under it.
func DigestMessage(d operation.WeeklyDigest) Message {
	b := builder{}
	title := "Secrets and certificates: the week"
	b.add(slack.NewHeaderBlock(plainText(signed("calendar", title), maxHeader)))
	b.lines(line{bold(plain(d.Summary(), maxPhrase))})
	section := func(title string, lines []line) {
		if len(lines) > 0 {
			b.heading(title)
			b.list(lines)
		}
	}
	section("Overdue", expirings(d.Overdue, "rotating_light"))
	section("Nobody knows when these expire", expirings(d.Unknown, "grey_question"))
	section("Nobody could confirm anything for these today", unconfirmables(d.Unconfirmable))
	section("Emergencies since the last digest", deeds(d, func(o operation.Deed) bool { return o.Emergency && !o.Drill }))
	section("Drills", deeds(d, func(o operation.Deed) bool { return o.Drill }))
	section("What was done", deeds(d, func(o operation.Deed) bool { return !o.Emergency && !o.Drill }))
	section("Also", others(d))
	b.context(line{say("Since "), when(d.Since), say(" · what expires when stands in the thread")})
	return b.message(title)
}

func expirings(list []operation.Expiring, emoji string) []line {
	out := make([]line, 0, len(list))
	for _, e := range list {
		l := line{}
		if emoji != "" {
			l = append(l, sign(emoji))
		}
		l = append(l, bold(plain(e.Name, maxPhrase)), say(" ("+plain(e.Kind, maxPhrase)+")"))
		if !e.End.IsZero() {
			l = append(l, say(": "), when(e.End))
		}
		if e.Owner != "" {
			l = append(l, say(" · owner: "), words(e.Owner))
		}
		if e.Why != "" {
			l = append(l, say(" · "), words(e.Why))
		}
		out = append(out, l)
	}
	return out
}

// unconfirmables gathers the secrets that have the same reason.
func unconfirmables(list []operation.Unconfirmable) []line {
	var out []line
	for n := 0; n < len(list); {
		names, why := string(list[n].Secret), list[n].Why
		for n++; n < len(list) && list[n].Why == why; n++ {
			names += ", " + string(list[n].Secret)
		}
		out = append(out, line{sign("warning"), bold(plain(names, maxPhrase)), say(": "), words(why)})
	}
	return out
}

func deeds(d operation.WeeklyDigest, wanted func(operation.Deed) bool) []line {
	var out []line
	for _, o := range d.Deeds {
		if !wanted(o) {
			continue
		}
		l := line{sign(stateSign(o.State)), bold(titled(string(o.Kind)) + " " + plain(string(o.Secret), maxPhrase)), say(": " + o.State.Words() + ", "), when(o.At), say(". Asked for by "), who(o.By)}
		if o.Confirmed.User != "" {
			l = append(l, say(", confirmed by "), who(o.Confirmed))
		}
		l = append(l, say(" · "), code(string(o.Operation)))
		if o.Emergency && o.Confirmed.User != "" {
			l = append(l, say(" · "+times(o)))
		}
		out = append(out, l)
	}
	return out
}

// times says how long the parts of an emergency or a drill took.
func times(o operation.Deed) string {
	text := "confirmed after " + short(o.Decided)
	if o.Removed > 0 {
		text += ", the key removed " + short(o.Removed) + " later"
	}
	if o.Took > 0 {
		text += ", over after " + short(o.Decided+o.Took)
	}
	return text
}

// short says a duration to the second, or to the minute when it is long.
func short(d time.Duration) string {
	switch {
	case d < time.Minute:
		return fmt.Sprintf("%d s", int(d.Round(time.Second).Seconds()))
	case d < time.Hour:
		return fmt.Sprintf("%d min %d s", int(d.Minutes()), int(d.Seconds())%60)
	}
	return fmt.Sprintf("%d h %d min", int(d.Hours()), int(d.Minutes())%60)
}

// others are what fits under no heading.
func others(d operation.WeeklyDigest) []line {
	var out []line
	if d.Retired > 0 {
		out = append(out, line{say(count(d.Retired, "key that was removed since is", "keys that were removed since are") + " still gone: Entra lists none of them.")})
	}
	if d.Leftovers > 0 {
		out = append(out, line{sign("broom"), say(count(d.Leftovers, "leftover waits", "leftovers wait") + " to be removed; each has a message of its own.")})
	}
	for _, g := range d.Gaps {
		out = append(out, line{sign("grey_question"), say("Not read: "), words(g)})
	}
	if d.NoPicture != "" {
		out = append(out, line{sign("warning"), say("There is no picture. "), words(d.NoPicture)})
	}
	return out
}

// MonthsMessage tells what expires, by month.
func MonthsMessage(d operation.WeeklyDigest) Message {
	b := builder{}
	title := "What expires in the next 12 months"
	b.add(slack.NewHeaderBlock(plainText(title, maxHeader)))
	for _, m := range d.Months {
		if len(m.Items) > 0 {
			b.heading(m.Name)
			b.list(expirings(m.Items, ""))
		}
	}
	if d.Items() == 0 {
		b.lines(line{say("Nothing.")})
	}
	b.context(line{say(count(d.Later, "thing expires", "things expire") + " after that · days and months of " + plain(d.Zone, maxPhrase))})
	return b.message(title)
}

// PictureNote says that a digest's picture could not be uploaded, and what it shows.
func PictureNote(d operation.Document, trouble string) Message {
	b := builder{}
	b.paragraphs(
		paragraph{line: line{sign("warning"), bold("The picture could not be uploaded. "), words(trouble)}},
		paragraph{line: line{say(plain(d.Alternative, maxSection-maxPhrase))}},
	)
	return b.message("")
}
