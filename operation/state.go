package operation

// State is where an operation stands.
type State string

// Event is what moves an operation from one state to another.
type Event string

// The states. Pending to Parked are open: one open operation a secret.
const (
	Pending  State = "pending"  // waits for the second key
	Approved State = "approved" // both keys turned; the plan is about to be checked again
	Running  State = "running"  // steps are being done and verified
	Waiting  State = "waiting"  // between steps, until an instant: the overlap
	Undoing  State = "undoing"  // a step failed; what was done is being taken back
	Parked   State = "parked"   // needs people

	Succeeded  State = "succeeded"
	TakenBack  State = "taken_back" // everything done was undone and verified
	Denied     State = "denied"
	Cancelled  State = "cancelled"
	Lapsed     State = "lapsed"
	Voided     State = "voided"      // the plan no longer fits what is there
	HandedOver State = "handed_over" // a person finishes it by hand
	Superseded State = "superseded"  // an emergency took its place
)

// The events.
const (
	Request   Event = "request"
	Confirm   Event = "confirm"
	Deny      Event = "deny"
	Cancel    Event = "cancel"
	Lapse     Event = "lapse"
	Begin     Event = "begin" // the plan, made again, is the confirmed one
	Void      Event = "void"
	Wait      Event = "wait"
	Resume    Event = "resume"
	Finish    Event = "finish"
	Fail      Event = "fail" // a step failed and can be undone
	Park      Event = "park" // a step or an undo failed and people must look
	Retry     Event = "retry"
	Undo      Event = "undo"
	TakeBack  Event = "take_back" // the last undo was verified
	HandOver  Event = "hand_over"
	Supersede Event = "supersede"
	Distrust  Event = "distrust" // its row in the store is not as this program wrote it
)

// table is the whole of it: what is not in it is refused.
func table() map[State]map[Event]State {
	return map[State]map[Event]State{
		Pending:  {Confirm: Approved, Deny: Denied, Cancel: Cancelled, Lapse: Lapsed, Supersede: Superseded},
		Approved: {Begin: Running, Void: Voided, Supersede: Superseded, Distrust: HandedOver},
		Running:  {Wait: Waiting, Finish: Succeeded, Fail: Undoing, Park: Parked, Supersede: Superseded, Distrust: HandedOver},
		Waiting:  {Resume: Running, Supersede: Superseded, Distrust: HandedOver},
		Undoing:  {TakeBack: TakenBack, Park: Parked, Supersede: Superseded, Distrust: HandedOver},
		Parked:   {Retry: Running, Undo: Undoing, HandOver: HandedOver, Supersede: Superseded, Distrust: HandedOver},
	}
}

// Next returns the state that event leads to, and whether the table has it.
func Next(from State, event Event) (State, bool) {
	to, ok := table()[from][event]
	return to, ok
}

// ByPeople reports whether a person's click may cause the event. The others are
// the workers' own.
func (e Event) ByPeople() bool {
	switch e {
	case Confirm, Deny, Cancel, Retry, Undo, HandOver:
		return true
	default:
		return false
	}
}

// Open reports whether an operation in this state still holds its secret.
func (s State) Open() bool {
	_, ok := table()[s]
	return ok
}

// States lists all states in the order of a life.
func States() []State {
	return []State{Pending, Approved, Running, Waiting, Undoing, Parked, Succeeded, TakenBack, Denied, Cancelled, Lapsed, Voided, HandedOver, Superseded}
}

// Events lists all events that move an operation.
func Events() []Event {
	return []Event{Confirm, Deny, Cancel, Lapse, Begin, Void, Wait, Resume, Finish, Fail, Park, Retry, Undo, TakeBack, HandOver, Supersede, Distrust}
}

// Words says the state as a person would.
func (s State) Words() string {
	switch s {
	case Pending:
		return "waiting for a second person"
	case Approved:
		return "confirmed"
	case Running:
		return "running"
	case Waiting:
		return "waiting for the overlap to end"
	case Undoing:
		return "being taken back"
	case Parked:
		return "parked until somebody looks"
	case Succeeded:
		return "done"
	case TakenBack:
		return "taken back"
	case Denied:
		return "denied"
	case Cancelled:
		return "cancelled"
	case Lapsed:
		return "lapsed"
	case Voided:
		return "void"
	case HandedOver:
		return "handed over"
	case Superseded:
		return "replaced by an emergency"
	}
	return string(s)
}
