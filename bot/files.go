package bot

import (
	"bytes"
	"context"
	"fmt"

	"github.com/slack-go/slack"

	"github.com/twokey/twokey/operation"
)

// sendFile uploads a document into the thread. The thread was read before, so it
// is not there yet. A definite refusal is told instead.
func (p *poster) sendFile(ctx context.Context, n operation.Notice, spot place) (operation.MessageID, error) {
	d := spot.document
	if err := p.upload(ctx, d, spot); err != nil {
		if refusedForGood(err) && !closed(err) {
			p.b.log.ErrorContext(ctx, "a document could not be uploaded", "operation", n.Operation, "document", d.Name, "error", err)
			return p.sendAs(ctx, n, spot, fileNote(n, d, refusalWords(err)))
		}
		return "", err
	}
	id := p.appears(ctx, n, spot)
	p.bookmarkFile(ctx, n, spot, id)
	return id, nil
}

// fileNote says that a document could not be uploaded. What a picture shows is said
// in its place.
func fileNote(n operation.Notice, d operation.Document, trouble string) Message {
	if n.Kind == operation.NoticePicture {
		return PictureNote(d, trouble)
	}
	return FileNote(d, trouble)
}

// maxAlternative bounds what stands for a picture, in runes.
const maxAlternative = 1000

// upload is Slack's three calls. Until the last, nobody sees anything.
func (p *poster) upload(ctx context.Context, d operation.Document, spot place) error {
	body := d.Body
	if len(body) == 0 {
		body = []byte("(empty)\n") // Slack takes no empty files
	}
	_, err := p.b.poster.UploadFileContext(ctx, slack.UploadFileParameters{
		Reader: bytes.NewReader(body), FileSize: len(body), Filename: d.Name, Title: fileTitle(spot),
		InitialComment: fileComment(d, spot.op), Channel: string(spot.channel), ThreadTimestamp: string(spot.thread), AltTxt: plain(d.Alternative, maxAlternative),
	})
	if err != nil {
		return doubtful(fmt.Errorf("upload %s: %w", d.Name, err))
	}
	return nil
}

func fileTitle(spot place) string {
	if spot.op.Drill() {
		return "DRILL: " + spot.document.Title
	}
	return spot.document.Title
}

// fileMark is in the message of one version of a document, so that it can be found
// again: messages of files have no metadata. Slack rewrites nothing in it.
func fileMark(d operation.Document, op operation.Operation) string {
	of := ""
	if op.ID != "" {
		of = fmt.Sprintf(" of operation %s", op.ID)
	}
	return fmt.Sprintf("`%s`%s, as of %s", d.Name, of, d.At.UTC().Format("2006-01-02 15:04:05.000 UTC"))
}

func fileComment(d operation.Document, op operation.Operation) string {
	return escape(d.Title, maxPhrase) + ": " + fileMark(d, op)
}

// appears waits for the upload's message, which Slack posts in its own time.
// Without it the file is there all the same.
func (p *poster) appears(ctx context.Context, n operation.Notice, spot place) operation.MessageID {
	var err error
	for range tries {
		var ids []operation.MessageID
		if ids, err = p.find(ctx, n, spot); len(ids) > 0 {
			return ids[0]
		}
		if !pause(ctx, settle) {
			break
		}
	}
	p.b.log.WarnContext(ctx, "an uploaded document's message was not seen, so it gets no bookmark", "notice", n.Key, "error", err)
	return ""
}

// bookmarkFile leads from the room's bookmarks to a document's message.
func (p *poster) bookmarkFile(ctx context.Context, n operation.Notice, spot place, id operation.MessageID) {
	if n.Kind != operation.NoticeFile || !spot.inRoom || id == "" {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, furnishTime)
	defer cancel()
	if err := p.bookmark(ctx, spot.channel, fileTitle(spot), p.permalink(ctx, spot.channel, id), ":page_facing_up:"); err != nil {
		p.b.log.WarnContext(ctx, "a document has no bookmark", "operation", spot.op.ID, "document", spot.document.Name, "error", err)
	}
}
