package slack

import (
	"fmt"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"unicode/utf8"
)

// surface is where blocks stand.
type surface string

const (
	inMessage surface = "message"
	inModal   surface = "modal"
	inHome    surface = "home"
)

// checker looks blocks over and collects what Slack would refuse, in Slack's
// words: a sentence and a JSON pointer.
type checker struct {
	surface  surface
	plans    bool
	blockIDs map[string]bool
	actions  map[string]bool // by block_id and action_id
	problems []string
	markdown int // characters of all markdown blocks
	tables   int
	newID    func() string
}

func (k *checker) fail(at, format string, args ...any) {
	k.problems = append(k.problems, fmt.Sprintf(format, args...)+" [json-pointer:"+at+"]")
}

// checkBlocks checks a list of blocks and gives those without ids their ids.
func (s *Server) checkBlocks(list []any, where surface, at string) ([]object, []string) {
	k := &checker{
		surface: where, plans: s.settings.PlanBlocks, blockIDs: map[string]bool{}, actions: map[string]bool{},
		newID: func() string { return strings.ToLower(s.id("b")) },
	}
	blocks := k.blocks(list, at)
	return blocks, k.problems
}

// checkView checks a whole view.
func (s *Server) checkView(body object, kind string) ([]object, []string) {
	k := &checker{
		surface: surface(kind), plans: s.settings.PlanBlocks, blockIDs: map[string]bool{}, actions: map[string]bool{},
		newID: func() string { return strings.ToLower(s.id("b")) },
	}
	if body["type"] != kind {
		k.fail("/view/type", "must be %q", kind)
	}
	if kind == "modal" {
		k.plainText(body, "title", 24, true, "/view")
		k.plainText(body, "submit", 24, false, "/view")
		k.plainText(body, "close", 24, false, "/view")
	} else {
		for _, no := range []string{"title", "submit", "close"} {
			if body[no] != nil {
				k.fail("/view", "additional property %q is not allowed for a home view", no)
			}
		}
	}
	k.length(body, "private_metadata", 0, 3000, "/view")
	k.length(body, "callback_id", 0, 255, "/view")
	k.length(body, "external_id", 0, 255, "/view")
	list, ok := body["blocks"].([]any)
	if !ok {
		k.fail("/view", "missing required field: blocks")
		return nil, k.problems
	}
	blocks := k.blocks(list, "/view/blocks")
	hasInput := slices.ContainsFunc(blocks, func(b object) bool { return b["type"] == "input" })
	if kind == "modal" && hasInput && body["submit"] == nil {
		k.fail("/view", "missing required field: submit (a view with input blocks needs it)")
	}
	return blocks, k.problems
}

// blocks checks each block of a list.
func (k *checker) blocks(list []any, at string) []object {
	most := 50
	if k.surface != inMessage {
		most = 100
	}
	if len(list) > most {
		k.fail(at, "no more than %d items allowed", most)
	}
	out := make([]object, 0, len(list))
	for i, raw := range list {
		here := fmt.Sprintf("%s/%d", at, i)
		b, ok := raw.(map[string]any)
		if !ok {
			k.fail(here, "must provide an object")
			continue
		}
		k.block(b, here)
		out = append(out, b)
	}
	if k.markdown > 12000 {
		k.fail(at, "must be less than 12001 characters")
	}
	if k.tables > 1 {
		k.fail(at, "only_one_table_allowed")
	}
	return out
}

// surfacesOf says where a type of block may stand; nil is an unknown type.
func surfacesOf(kind string) []surface {
	switch kind {
	case "section", "divider", "image", "actions", "context", "header", "rich_text", "video", "input":
		return []surface{inMessage, inModal, inHome}
	case "markdown", "table", "context_actions", "plan", "task_card":
		return []surface{inMessage}
	case "alert":
		return []surface{inModal}
	}
	return nil
}

func (k *checker) block(b object, at string) {
	kind, _ := b["type"].(string)
	switch {
	case kind == "":
		k.fail(at, "missing required field: type")
		return
	case !slices.Contains(surfacesOf(kind), k.surface), !k.plans && (kind == "plan" || kind == "task_card"):
		k.fail(at+"/type", "unsupported type: %s", kind)
		return
	}
	k.blockID(b, at)
	switch kind {
	case "section":
		k.section(b, at)
	case "header":
		k.plainText(b, "text", 150, true, at)
	case "image":
		k.image(b, at, true)
	case "actions":
		k.elements(b, "actions", 25, at)
	case "context":
		k.context(b, at)
	case "context_actions":
		k.elements(b, "context_actions", 5, at)
	case "input":
		k.input(b, at)
	case "rich_text":
		k.richText(b, at)
	case "markdown":
		k.length(b, "text", 1, 12000, at)
		text, _ := b["text"].(string)
		k.markdown += utf8.RuneCountInString(text)
	case "table":
		k.table(b, at)
	case "plan":
		k.plan(b, at)
	case "task_card":
		k.taskCard(b, at)
	case "alert":
		k.text(b, "text", 200, true, at)
		k.oneOf(b, "level", at, "default", "info", "warning", "error", "success")
	case "video":
		k.video(b, at)
	}
}

// blockID checks a block's id and makes one up where there is none.
func (k *checker) blockID(b object, at string) {
	k.length(b, "block_id", 0, 255, at)
	id, _ := b["block_id"].(string)
	if id == "" {
		id = k.newID()
		b["block_id"] = id
	}
	if k.blockIDs[id] {
		k.fail(at+"/block_id", "`block_id` %q already exists in this list of blocks", id)
	}
	k.blockIDs[id] = true
}

func (k *checker) section(b object, at string) {
	fields, hasFields := b["fields"].([]any)
	if b["text"] == nil && !hasFields {
		k.fail(at, "must define either `text` or `fields`")
	}
	k.text(b, "text", 3000, false, at)
	if hasFields && (len(fields) == 0 || len(fields) > 10) {
		k.fail(at+"/fields", "must have between 1 and 10 items")
	}
	for i, f := range fields {
		k.textObject(f, 2000, fmt.Sprintf("%s/fields/%d", at, i))
	}
	if a, ok := b["accessory"]; ok {
		k.element(a, "section", b["block_id"], at+"/accessory")
	}
}

func (k *checker) image(b object, at string, isBlock bool) {
	k.length(b, "alt_text", 1, 2000, at)
	if b["slack_file"] == nil {
		k.length(b, "image_url", 1, 3000, at)
		k.address(b, "image_url", at)
	}
	if isBlock {
		k.plainText(b, "title", 2000, false, at)
	}
}

func (k *checker) context(b object, at string) {
	list, ok := b["elements"].([]any)
	if !ok || len(list) == 0 || len(list) > 10 {
		k.fail(at+"/elements", "must have between 1 and 10 items")
	}
	for i, e := range list {
		here := fmt.Sprintf("%s/elements/%d", at, i)
		o, _ := e.(map[string]any)
		if o["type"] == "image" {
			k.image(o, here, false)
			continue
		}
		k.textObject(e, 3000, here)
	}
}

// elements checks an actions block's elements, or a context_actions block's.
func (k *checker) elements(b object, parent string, most int, at string) {
	list, ok := b["elements"].([]any)
	if !ok || len(list) == 0 || len(list) > most {
		k.fail(at+"/elements", "must have between 1 and %d items", most)
	}
	for i, e := range list {
		k.element(e, parent, b["block_id"], fmt.Sprintf("%s/elements/%d", at, i))
	}
}

func (k *checker) input(b object, at string) {
	k.plainText(b, "label", 2000, true, at)
	k.plainText(b, "hint", 2000, false, at)
	if b["element"] == nil {
		k.fail(at, "missing required field: element")
		return
	}
	k.element(b["element"], "input", b["block_id"], at+"/element")
}

func (k *checker) richText(b object, at string) {
	list, ok := b["elements"].([]any)
	if !ok {
		k.fail(at, "missing required field: elements")
		return
	}
	for i, e := range list {
		o, _ := e.(map[string]any)
		kind, _ := o["type"].(string)
		here := fmt.Sprintf("%s/elements/%d", at, i)
		if !slices.Contains([]string{"rich_text_section", "rich_text_list", "rich_text_quote", "rich_text_preformatted"}, kind) {
			k.fail(here+"/type", "unsupported type: %s", kind)
		} else if _, ok := o["elements"].([]any); !ok {
			k.fail(here, "missing required field: elements")
		}
	}
}

func (k *checker) table(b object, at string) {
	k.tables++
	rows, ok := b["rows"].([]any)
	if !ok || len(rows) == 0 || len(rows) > 100 {
		k.fail(at+"/rows", "must have between 1 and 100 items")
	}
	for i, r := range rows {
		cells, ok := r.([]any)
		if !ok || len(cells) == 0 || len(cells) > 20 {
			k.fail(fmt.Sprintf("%s/rows/%d", at, i), "must have between 1 and 20 items")
		}
		for j, c := range cells {
			here := fmt.Sprintf("%s/rows/%d/%d", at, i, j)
			if cell, ok := c.(map[string]any); ok {
				k.oneOf(cell, "type", here, "raw_text", "raw_number", "rich_text")
			} else {
				k.fail(here, "must provide an object")
			}
		}
	}
}

func (k *checker) plan(b object, at string) {
	k.length(b, "title", 1, 256, at)
	tasks, _ := b["tasks"].([]any)
	for i, t := range tasks {
		here := fmt.Sprintf("%s/tasks/%d", at, i)
		o, ok := t.(map[string]any)
		if !ok {
			k.fail(here, "must provide an object")
			continue
		}
		if kind, has := o["type"]; has && kind != "task_card" {
			k.fail(here+"/type", "unsupported type: %v", kind)
			continue
		}
		k.taskCard(o, here)
	}
}

func (k *checker) taskCard(b object, at string) {
	k.length(b, "task_id", 1, 255, at)
	k.length(b, "title", 1, 256, at)
	if b["status"] == nil {
		k.fail(at, "missing required field: status")
	}
	k.oneOf(b, "status", at, "pending", "in_progress", "complete", "error")
	for _, name := range []string{"details", "output"} {
		o, ok := b[name].(map[string]any)
		if b[name] == nil {
			continue
		}
		if !ok || o["type"] != "rich_text" {
			k.fail(at+"/"+name, "must be a rich_text block")
			continue
		}
		k.richText(o, at+"/"+name)
	}
}

func (k *checker) video(b object, at string) {
	k.plainText(b, "title", 199, true, at)
	k.length(b, "alt_text", 1, 2000, at)
	for _, name := range []string{"video_url", "thumbnail_url"} {
		k.length(b, name, 1, 3000, at)
		k.address(b, name, at)
	}
}

// allowedIn says which elements a parent takes.
func allowedIn(parent string) []string {
	selects := []string{"static_select", "external_select", "users_select", "conversations_select", "channels_select"}
	multi := []string{"multi_static_select", "multi_external_select", "multi_users_select", "multi_conversations_select", "multi_channels_select"}
	choices := []string{"checkboxes", "radio_buttons", "datepicker", "timepicker"}
	switch parent {
	case "section":
		return slices.Concat(selects, multi, choices, []string{"button", "overflow", "image", "workflow_button"})
	case "actions":
		return slices.Concat(selects, multi, choices, []string{"button", "overflow", "datetimepicker", "workflow_button", "rich_text_input"})
	case "input":
		return slices.Concat(selects, multi, choices, []string{"datetimepicker", "plain_text_input", "number_input", "email_text_input", "url_text_input", "rich_text_input", "file_input"})
	case "context_actions":
		return []string{"feedback_buttons", "icon_button"}
	}
	return nil
}

// element checks one interactive element; an image is one that isn't.
func (k *checker) element(raw any, parent string, block any, at string) {
	e, ok := raw.(map[string]any)
	if !ok {
		k.fail(at, "must provide an object")
		return
	}
	kind, _ := e["type"].(string)
	if !slices.Contains(allowedIn(parent), kind) {
		k.fail(at+"/type", "unsupported type: %s", kind)
		return
	}
	if kind == "image" {
		k.image(e, at, false)
		return
	}
	k.actionID(e, block, at)
	k.confirm(e, at)
	k.plainText(e, "placeholder", 150, false, at)
	switch kind {
	case "button", "workflow_button":
		k.button(e, at)
	case "static_select", "multi_static_select":
		k.options(e, 100, at)
	case "overflow":
		k.options(e, 5, at)
	case "checkboxes", "radio_buttons":
		k.options(e, 10, at)
	case "plain_text_input":
		k.textInput(e, at)
	case "datepicker":
		k.pattern(e, "initial_date", `^\d{4}-\d{2}-\d{2}$`, at)
	case "timepicker":
		k.pattern(e, "initial_time", `^([01]\d|2[0-3]):[0-5]\d$`, at)
	case "number_input":
		if _, ok := e["is_decimal_allowed"].(bool); !ok {
			k.fail(at, "missing required field: is_decimal_allowed")
		}
	}
}

// actionID checks an element's id and makes one up where there is none.
func (k *checker) actionID(e object, block any, at string) {
	k.length(e, "action_id", 0, 255, at)
	id, _ := e["action_id"].(string)
	if id == "" {
		id = k.newID()
		e["action_id"] = id
	}
	key := fmt.Sprintf("%v\x00%s", block, id)
	if k.actions[key] {
		k.fail(at+"/action_id", "`action_id` %q already exists for block_id %q", id, block)
	}
	k.actions[key] = true
}

func (k *checker) button(e object, at string) {
	k.plainText(e, "text", 75, true, at)
	k.length(e, "value", 0, 2000, at)
	k.length(e, "url", 0, 3000, at)
	k.length(e, "accessibility_label", 0, 75, at)
	k.address(e, "url", at)
	k.oneOf(e, "style", at, "primary", "danger")
}

func (k *checker) textInput(e object, at string) {
	least, _ := e["min_length"].(float64)
	most, hasMost := e["max_length"].(float64)
	if least < 0 || least > 3000 {
		k.fail(at+"/min_length", "must be between 0 and 3000")
	}
	if hasMost && (most < 1 || most > 3000 || most < least) {
		k.fail(at+"/max_length", "must be between 1 and 3000 and not less than min_length")
	}
	k.length(e, "initial_value", 0, 3000, at)
}

// confirm checks the dialog that asks "are you sure?".
func (k *checker) confirm(e object, at string) {
	raw, ok := e["confirm"]
	if !ok || raw == nil {
		return
	}
	d, ok := raw.(map[string]any)
	if !ok {
		k.fail(at+"/confirm", "must provide an object")
		return
	}
	k.plainText(d, "title", 100, true, at+"/confirm")
	k.text(d, "text", 300, true, at+"/confirm")
	k.plainText(d, "confirm", 30, true, at+"/confirm")
	k.plainText(d, "deny", 30, true, at+"/confirm")
	k.oneOf(d, "style", at+"/confirm", "primary", "danger")
}

// options checks a menu's options or option groups.
func (k *checker) options(e object, most int, at string) {
	if groups, ok := e["option_groups"].([]any); ok {
		if len(groups) == 0 || len(groups) > 100 {
			k.fail(at+"/option_groups", "must have between 1 and 100 items")
		}
		for i, g := range groups {
			here := fmt.Sprintf("%s/option_groups/%d", at, i)
			o, _ := g.(map[string]any)
			k.plainText(o, "label", 75, true, here)
			k.optionList(o["options"], most, here+"/options")
		}
		return
	}
	k.optionList(e["options"], most, at+"/options")
	k.initial(e, at)
}

func (k *checker) optionList(raw any, most int, at string) {
	list, ok := raw.([]any)
	if !ok || len(list) == 0 || len(list) > most {
		k.fail(at, "must have between 1 and %d items", most)
	}
	for i, o := range list {
		here := fmt.Sprintf("%s/%d", at, i)
		option, ok := o.(map[string]any)
		if !ok {
			k.fail(here, "must provide an object")
			continue
		}
		k.text(option, "text", 75, true, here)
		k.length(option, "value", 1, 150, here)
		k.text(option, "description", 75, false, here)
	}
}

// initial refuses an initial option that is none of the options.
func (k *checker) initial(e object, at string) {
	initial, ok := e["initial_option"].(map[string]any)
	if !ok {
		return
	}
	for _, o := range optionsOf(e) {
		if o["value"] == initial["value"] {
			return
		}
	}
	k.fail(at+"/initial_option", "must match one of the provided options")
}

// optionsOf returns a menu's options, those in groups included.
func optionsOf(e object) []object {
	var out []object
	add := func(raw any) {
		list, _ := raw.([]any)
		for _, o := range list {
			if option, ok := o.(map[string]any); ok {
				out = append(out, option)
			}
		}
	}
	add(e["options"])
	groups, _ := e["option_groups"].([]any)
	for _, g := range groups {
		if o, ok := g.(map[string]any); ok {
			add(o["options"])
		}
	}
	return out
}

// text checks a text object of either type.
func (k *checker) text(o object, name string, most int, required bool, at string) {
	raw, ok := o[name]
	if !ok || raw == nil {
		if required {
			k.fail(at, "missing required field: %s", name)
		}
		return
	}
	k.textObject(raw, most, at+"/"+name)
}

// plainText checks a text object that must be plain_text.
func (k *checker) plainText(o object, name string, most int, required bool, at string) {
	k.text(o, name, most, required, at)
	if t, ok := o[name].(map[string]any); ok && t["type"] != "plain_text" {
		k.fail(at+"/"+name+"/type", "must be \"plain_text\"")
	}
}

func (k *checker) textObject(raw any, most int, at string) {
	t, ok := raw.(map[string]any)
	if !ok {
		k.fail(at, "must provide an object")
		return
	}
	kind, _ := t["type"].(string)
	if kind != "plain_text" && kind != "mrkdwn" {
		k.fail(at+"/type", "unsupported type: %s", kind)
	}
	if _, ok := t["emoji"]; ok && kind == "mrkdwn" {
		k.fail(at, "additional property \"emoji\" is not allowed for mrkdwn")
	}
	if _, ok := t["verbatim"]; ok && kind == "plain_text" {
		k.fail(at, "additional property \"verbatim\" is not allowed for plain_text")
	}
	k.length(t, "text", 1, most, at)
}

// length checks a string's characters; with least above zero it is required.
func (k *checker) length(o object, name string, least, most int, at string) {
	raw, ok := o[name]
	if !ok || raw == nil {
		if least > 0 {
			k.fail(at, "missing required field: %s", name)
		}
		return
	}
	text, ok := raw.(string)
	if !ok {
		k.fail(at+"/"+name, "must be a string")
		return
	}
	switch n := utf8.RuneCountInString(text); {
	case n < least:
		k.fail(at+"/"+name, "must be more than %d characters", least-1)
	case n > most:
		k.fail(at+"/"+name, "must be less than %d characters", most+1)
	}
}

func (k *checker) oneOf(o object, name, at string, allowed ...string) {
	raw, ok := o[name]
	if !ok || raw == nil {
		return
	}
	if text, ok := raw.(string); !ok || !slices.Contains(allowed, text) {
		k.fail(at+"/"+name, "must be one of: %s", strings.Join(allowed, ", "))
	}
}

func (k *checker) address(o object, name, at string) {
	text, _ := o[name].(string)
	if text == "" {
		return
	}
	if u, err := url.Parse(text); err != nil || u.Scheme == "" || u.Host == "" {
		k.fail(at+"/"+name, "must be a valid URL")
	}
}

func (k *checker) pattern(o object, name, pattern, at string) {
	text, _ := o[name].(string)
	if text != "" && !regexp.MustCompile(pattern).MatchString(text) {
		k.fail(at+"/"+name, "failed to match the expected pattern")
	}
}

// element is an interactive element and where it stands.
type element struct {
	BlockID  string
	ActionID string
	Element  object
	Input    bool // of an input block
	Optional bool
	Label    string
}

// elements lists the interactive elements of blocks in order.
func elements(blocks []object) []element {
	var out []element
	add := func(b object, raw any) {
		e, ok := raw.(map[string]any)
		if !ok || e["action_id"] == nil {
			return
		}
		block, _ := b["block_id"].(string)
		action, _ := e["action_id"].(string)
		out = append(out, element{
			BlockID: block, ActionID: action, Element: e, Input: b["type"] == "input", Optional: b["optional"] == true, Label: plain(b["label"]),
		})
	}
	for _, b := range blocks {
		switch b["type"] {
		case "section":
			add(b, b["accessory"])
		case "actions", "context_actions":
			list, _ := b["elements"].([]any)
			for _, e := range list {
				add(b, e)
			}
		case "input":
			add(b, b["element"])
		}
	}
	return out
}
