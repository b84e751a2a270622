package slack

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"path"
	"strconv"
	"time"
)

// Slack's bounds of a response_url.
const (
	responseUses = 5
	responseLife = 30 * time.Minute // by the sandbox's clock
)

// responseURL lets the app answer where something happened.
type responseURL struct {
	channel string
	user    string
	message string // ts of the message that was clicked
	made    time.Time
	uses    int
}

func (s *Server) newResponseURL(r responseURL) string {
	id := randomHex(12)
	r.made = s.cond.Clock.Now()
	s.responses[id] = &r
	return s.base + "/response/" + id
}

func (s *Server) serveResponse(w http.ResponseWriter, r *http.Request) {
	raw, err := io.ReadAll(r.Body)
	var p params
	if err != nil || json.Unmarshal(raw, &p) != nil {
		writeJSON(w, http.StatusBadRequest, object{"ok": false, "error": "invalid_payload"})
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	to, ok := s.responses[r.PathValue("id")]
	switch {
	case !ok, s.cond.Clock.Now().Sub(to.made) > responseLife:
		writeJSON(w, http.StatusNotFound, object{"ok": false, "error": "expired_url"})
		return
	case to.uses >= responseUses:
		writeJSON(w, http.StatusNotFound, object{"ok": false, "error": "used_url"})
		return
	}
	to.uses++
	c := &call{Server: s, p: p, token: &token{Kind: botToken}}
	if err := c.respond(to); err != nil {
		var refused *apiError
		if !errors.As(err, &refused) {
			refused = &apiError{name: "internal_error"}
		}
		writeRefusal(w, refused)
		return
	}
	writeJSON(w, http.StatusOK, object{"ok": true})
}

// respond does what an answer to a response_url, or one in an acknowledgement
// of a slash command, asks for.
func (c *call) respond(to *responseURL) error {
	original := c.message(to.channel, to.message)
	if c.p.truth("delete_original") && original != nil {
		original.Deleted = true
		c.note("message_deleted", original.clone())
		return nil
	}
	body, err := c.content()
	if err != nil {
		return err
	}
	if c.p.truth("replace_original") && original != nil {
		original.Text, original.Blocks, original.Attachments = body.text, body.blocks, body.attachments
		original.EditedAt, original.Edits, original.Mentions = slackTime(c.cond.Clock.Now()), original.Edits+1, mentions(original)
		c.note("message_changed", original.clone())
		return nil
	}
	m := &Message{
		Channel: to.channel, ThreadTS: c.p.text("thread_ts"), User: c.app.BotUser, BotID: c.app.BotID, Text: body.text, Blocks: body.blocks,
		Attachments: body.attachments, EphemeralTo: to.user,
	}
	if c.p.text("response_type") == "in_channel" {
		m.EphemeralTo = ""
	}
	c.post(m)
	return nil
}

// File is an uploaded file.
type File struct {
	ID       string   `json:"id"`
	Name     string   `json:"name"`
	Title    string   `json:"title"`
	Size     int      `json:"size"`
	AltText  string   `json:"alt_txt,omitempty"`
	Channels []string `json:"channels"`
	Created  int64    `json:"created"`
	Content  string   `json:"content"` // as it was uploaded
	Complete bool     `json:"complete"`
}

// file is a File and the ticket to upload it.
type file struct {
	File
	ticket   string
	promised int // bytes
	uploaded bool
}

func (s *Server) wireFile(f *file) object {
	link := s.base + "/files/" + f.ID
	return object{
		"id": f.ID, "created": f.Created, "timestamp": f.Created, "name": f.Name, "title": f.Title, "mimetype": "application/octet-stream",
		"filetype": path.Ext(f.Name), "user": s.app.BotUser, "user_team": s.team.ID, "size": f.Size, "mode": "hosted", "is_external": false,
		"is_public": len(f.Channels) > 0, "url_private": link, "url_private_download": link, "channels": f.Channels, "groups": []string{}, "ims": []string{},
		"permalink": "https://" + s.team.Domain + ".slack.com/files/" + s.app.BotUser + "/" + f.ID + "/" + f.Name,
	}
}

func (c *call) uploadURL() (object, error) {
	size := c.p.number("length", 0)
	if size <= 0 {
		return nil, refuse("missing_argument")
	}
	f := &file{File: File{ID: c.id("F"), Name: c.p.text("filename"), AltText: c.p.text("alt_txt"), Created: c.unix(), Channels: []string{}}, ticket: randomHex(12), promised: size}
	f.Title = f.Name
	c.files[f.ID] = f
	return object{"upload_url": c.base + "/upload/" + f.ticket, "file_id": f.ID}, nil
}

// serveUpload takes a file's bytes, bare or as a form's file.
func (s *Server) serveUpload(w http.ResponseWriter, r *http.Request) {
	content, err := uploaded(r)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, f := range s.files {
		if f.ticket != r.PathValue("id") || f.uploaded {
			continue
		}
		if len(content) != f.promised {
			http.Error(w, "the size differs from the length that was promised", http.StatusBadRequest)
			return
		}
		f.Content, f.Size, f.uploaded = string(content), len(content), true
		_, _ = io.WriteString(w, "OK - "+strconv.Itoa(len(content)))
		return
	}
	http.Error(w, "no such upload", http.StatusNotFound)
}

// uploaded reads the bytes of an upload: the body itself, or the only file of a
// form, whatever its field is called (slack-go says "file", Node's client "body").
func uploaded(r *http.Request) ([]byte, error) {
	form, err := r.MultipartReader()
	if err != nil {
		return io.ReadAll(r.Body)
	}
	for {
		part, err := form.NextPart()
		if err != nil {
			return nil, fmt.Errorf("find the file in the form: %w", err)
		}
		if part.FileName() != "" {
			return io.ReadAll(part)
		}
	}
}

func (c *call) completeUpload() (object, error) {
	raw, err := c.p.json("files")
	list, ok := raw.([]any)
	if err != nil || !ok || len(list) == 0 {
		return nil, &apiError{name: "invalid_arguments", messages: []string{"must be a list of files [json-pointer:/files]"}}
	}
	var ids []string
	var wire []object
	for _, item := range list {
		o, _ := item.(map[string]any)
		id, _ := o["id"].(string)
		f := c.files[id]
		if f == nil || !f.uploaded {
			return nil, refuse("file_not_found")
		}
		if title, ok := o["title"].(string); ok && title != "" {
			f.Title = title
		}
		ids = append(ids, id)
	}
	targets := c.p.list("channels")
	if id := c.p.text("channel_id"); id != "" {
		targets = append(targets, id)
	}
	for _, id := range targets {
		if err := c.share(id, ids); err != nil {
			return nil, err
		}
	}
	for _, id := range ids {
		c.files[id].Complete = true
		wire = append(wire, c.wireFile(c.files[id]))
	}
	return object{"files": wire}, nil
}

// share posts files to a channel as one message.
func (c *call) share(channel string, ids []string) error {
	ch, err := c.writable(channel)
	if err != nil {
		return err
	}
	thread, err := c.thread(ch)
	if err != nil {
		return err
	}
	for _, id := range ids {
		c.files[id].Channels = append(c.files[id].Channels, ch.ID)
	}
	c.post(&Message{Channel: ch.ID, ThreadTS: thread, User: c.app.BotUser, BotID: c.app.BotID, Text: c.p.text("initial_comment"), Files: ids})
	return nil
}

func (c *call) fileInfo() (object, error) {
	f := c.files[c.p.text("file")]
	if f == nil || !f.Complete {
		return nil, refuse("file_not_found")
	}
	return object{"file": c.wireFile(f), "comments": []object{}}, nil
}

// serveFile gives a file's content to those who have the bot's token.
func (s *Server) serveFile(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	f := s.files[r.PathValue("id")]
	if _, err := s.authenticate(r, params{}); err != nil || f == nil || !f.Complete {
		http.NotFound(w, r)
		return
	}
	_, _ = io.WriteString(w, f.Content)
}
