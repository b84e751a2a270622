package bot

// They lend what the goldens show to the tests against the stand-in.
var (
	AllMessages = messages
	AllModals   = modals
	ViewOf      = Modal.view
	AllHomes    = homes
	TabOf       = Home.view
)
