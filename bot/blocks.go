package bot

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"

	"github.com/slack-go/slack"

	"github.com/twokey/twokey/operation"
)

// plainText is a text object in which nothing is parsed.
func plainText(text string, limit int) *slack.TextBlockObject {
	return slack.NewTextBlockObject(slack.PlainTextType, plain(text, limit), true, false)
}

// builder collects a message's blocks and, in step with them, its text.
type builder struct {
	blocks []slack.Block
	text   []string
	listed int // characters of all lists
}

func (b *builder) add(block slack.Block) { b.blocks = append(b.blocks, block) }

// lines adds each line as a block of its own.
func (b *builder) lines(lines ...line) {
	for _, l := range lines {
		b.add(slack.NewRichTextBlock("", slack.NewRichTextSection(l.rich()...)))
		b.text = append(b.text, l.read())
	}
}

// ring mentions a user group, which rings with all of its members.
func (b *builder) ring(group operation.GroupID, words string) {
	if !userGroup.MatchString(string(group)) {
		return
	}
	text := "<!subteam^" + string(group) + "> " + escape(words, maxPhrase)
	b.add(slack.NewSectionBlock(mrkdwn(text), nil, nil))
	b.text = append(b.text, text)
}

// paragraph is a line of a longer block. A quote holds a person's own words; what
// they are is read out before them.
type paragraph struct {
	line  line
	quote string
}

// paragraphs adds one block of several lines.
func (b *builder) paragraphs(ps ...paragraph) {
	var elements []slack.RichTextElement
	var open *slack.RichTextSection // the section that the next line goes on in
	for _, p := range ps {
		switch {
		case p.quote != "":
			open = nil
			elements = append(elements, &slack.RichTextQuote{Type: slack.RTEQuote, Elements: p.line.rich()})
			b.text = append(b.text, p.quote+": "+p.line.read())
			continue
		case open != nil: // clients differ in whether sections begin a line
			open.Elements = append(append(open.Elements, line{say("\n")}.rich()...), p.line.rich()...)
		default:
			open = slack.NewRichTextSection(p.line.rich()...)
			elements = append(elements, open)
		}
		b.text = append(b.text, p.line.read())
	}
	b.add(slack.NewRichTextBlock("", elements...))
}

// heading stands over a list.
func (b *builder) heading(title string) { b.lines(line{bold(title + ":")}) }

// A list is cut into blocks of listBlock lines. Slack refuses messages whose blocks
// hold more than about 13200 characters of text, so lists end after listMax.
const (
	listBlock = 10
	listMax   = 7000
)

// richList is slack-go's RichTextList without "offset", which Slack's own types do
// not know.
type richList struct {
	Type     slack.RichTextElementType     `json:"type"`
	Style    slack.RichTextListElementType `json:"style"`
	Elements []slack.RichTextElement       `json:"elements"`
}

// RichTextElementType implements slack.RichTextElement.
func (l richList) RichTextElementType() slack.RichTextElementType { return l.Type }

func newList(style slack.RichTextListElementType, items []slack.RichTextElement) richList {
	return richList{Type: slack.RTEList, Style: style, Elements: items}
}

// list adds lines until there is no room, and says how many it left out.
func (b *builder) list(lines []line) (left int) {
	var items []slack.RichTextElement
	flush := func() {
		if len(items) > 0 {
			b.add(slack.NewRichTextBlock("", newList(slack.RTEListBullet, items)))
			items = nil
		}
	}
	for i, l := range lines {
		if b.listed += l.length(); b.listed > listMax {
			flush()
			b.lines(line{bold(fmt.Sprintf("… and %d more that do not fit here.", len(lines)-i))})
			return len(lines) - i
		}
		items = append(items, slack.NewRichTextSection(l.rich()...))
		b.text = append(b.text, "- "+l.read())
		if len(items) == listBlock {
			flush()
		}
	}
	flush()
	return 0
}

// steps adds the step list: natively, or as a list with signs.
func (b *builder) steps(title string, steps []operation.StepState, classic bool) {
	if classic {
		b.lines(line{bold(title)})
		var items []slack.RichTextElement
		for _, s := range steps {
			l := line{sign(markSign(s.Mark)), words(s.Name), say(" (" + markWords(s.Mark) + ")")}
			items = append(items, slack.NewRichTextSection(l.rich()...))
		}
		b.add(slack.NewRichTextBlock("", newList(slack.RTEListOrdered, items)))
	} else {
		b.text = append(b.text, title)
		b.add(planBlock(title, steps))
	}
	for i, s := range steps {
		b.text = append(b.text, fmt.Sprintf("%d. %s (%s)", i+1, line{words(s.Name)}.read(), markWords(s.Mark)))
	}
}

// maxTask leaves room for a word after a task's title, of which Slack takes 256
// characters.
const maxTask = 240

func planBlock(title string, steps []operation.StepState) slack.Block {
	plan := slack.NewPlanBlock(title)
	var tasks []*slack.TaskCardBlock
	for i, s := range steps {
		name := plain(s.Name, maxTask)
		if s.Mark == operation.StepUndone {
			name += " (taken back)"
		}
		tasks = append(tasks, slack.NewTaskCardBlock(fmt.Sprintf("step-%d", i+1), name).WithStatus(taskStatus(s.Mark)))
	}
	return plan.WithTasks(tasks...)
}

func taskStatus(m operation.Mark) slack.TaskCardStatus {
	switch m {
	case operation.StepActive:
		return slack.TaskCardStatusInProgress
	case operation.StepDone:
		return slack.TaskCardStatusComplete
	case operation.StepFailed:
		return slack.TaskCardStatusError
	case operation.StepPending, operation.StepUndone:
		return slack.TaskCardStatusPending
	}
	return slack.TaskCardStatusPending
}

// context adds a line in small print.
func (b *builder) context(l line) {
	b.add(slack.NewContextBlock("", mrkdwn(l.mrkdwn())))
	b.text = append(b.text, l.read())
}

// mrkdwn is a text object with our own mark-up. Verbatim, so that Slack links and
// mentions nothing that we did not.
func mrkdwn(text string) *slack.TextBlockObject {
	return slack.NewTextBlockObject(slack.MarkdownType, text, false, true)
}

// message finishes the blocks. Each gets an id made of its message's contents: an
// updated message needs new ids, and the same message twice needs none.
func (b *builder) message(title string) Message {
	m := Message{Text: join(append([]string{escape(title, maxHeader) + "."}, b.text...), maxText), Blocks: b.blocks}
	if title == "" {
		m.Text = join(b.text, maxText)
	}
	sum := m.fingerprint()
	for i, block := range b.blocks {
		setBlockID(block, fmt.Sprintf("tk-%s-%d", sum[:12], i))
	}
	return m
}

// fingerprint is the same for messages that look the same.
func (m Message) fingerprint() string {
	blocks, err := json.Marshal(m.Blocks)
	if err != nil {
		panic("bot: blocks cannot be encoded: " + err.Error()) // they are made here, of plain structs
	}
	sum := sha256.Sum256(append(blocks, m.Text...))
	return hex.EncodeToString(sum[:])
}

func setBlockID(block slack.Block, id string) {
	switch b := block.(type) {
	case *slack.HeaderBlock:
		b.BlockID = id
	case *slack.RichTextBlock:
		b.BlockID = id
	case *slack.SectionBlock:
		b.BlockID = id
	case *slack.ActionBlock:
		b.BlockID = id
	case *slack.ContextBlock:
		b.BlockID = id
	case *slack.PlanBlock:
		b.BlockID = id
	case *slack.TableBlock:
		b.BlockID = id
	}
}
