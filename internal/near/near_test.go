package near

import "testing"

func TestASlipOfTheFingersIsRecognised(t *testing.T) {
	servers := []string{"sharepoint", "github", "jira", "confluence"}
	for word, want := range map[string]string{
		"sharepont":   "sharepoint", // a letter missing
		"gihtub":      "github",     // two letters swapped
		"Jira":        "jira",
		"confluencee": "confluence",
		"sharepoint":  "sharepoint",
	} {
		if got, ok := Match(word, servers); !ok || got != want {
			t.Errorf("Match(%q) = %q, %v; want %q", word, got, ok, want)
		}
	}
}

func TestAnotherWordIsNotTakenForASlip(t *testing.T) {
	for _, word := range []string{"", "slack", "prod", "share", "jenkins"} {
		if got, ok := Match(word, []string{"sharepoint", "github", "jira", "confluence"}); ok {
			t.Errorf("Match(%q) = %q; want nothing", word, got)
		}
	}
}

func TestAHintNamesWhatThereIsWhenNothingIsNear(t *testing.T) {
	if got, want := Hint("staging", []string{"dev", "prod"}), "it takes dev, prod"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	if got, want := Hint("pord", []string{"dev", "prod"}), "did you mean prod?"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}
