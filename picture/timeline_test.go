package picture

import (
	"bytes"
	"flag"
	"fmt"
	"image/png"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/twokey/twokey/operation"
)

var update = flag.Bool("update", false, "write the goldens anew")

func digest(at time.Time, months int) operation.WeeklyDigest {
	d := operation.WeeklyDigest{At: at}
	for range months {
		d.Months = append(d.Months, operation.Month{})
	}
	return d
}

// busy is a digest with something of every kind.
func busy() operation.WeeklyDigest {
	at := time.Date(2026, 11, 23, 8, 0, 0, 0, time.UTC)
	d := digest(at, 13)
	d.Overdue = []operation.Expiring{{Name: "github/dev", End: at.AddDate(0, 0, -3)}}
	d.Unknown = []operation.Expiring{{Name: "legacy.example.com:8443"}}
	for n, name := range []string{"sharepoint/prod", "jira/dev", "github/prod", "login.example.com:443", "confluence/dev", "jira/prod", "*.example.com", "confluence/prod", "sharepoint/dev"} {
		end := at.AddDate(0, 0, []int{6, 26, 58, 85, 120, 190, 250, 330, 371}[n])
		m := (end.Year()-at.Year())*12 + int(end.Month()) - int(at.Month())
		d.Months[m].Items = append(d.Months[m].Items, operation.Expiring{Name: name, End: end})
	}
	return d
}

// TestThePictureIsAsInItsGolden: how it looks is for people to judge, who look at the
// golden when it changes.
func TestThePictureIsAsInItsGolden(t *testing.T) {
	many := digest(time.Date(2026, 11, 23, 8, 0, 0, 0, time.UTC), 13)
	for n := range 40 {
		many.Months[n/4].Items = append(many.Months[n/4].Items, operation.Expiring{Name: fmt.Sprintf("server%d/prod", n), End: many.At.AddDate(0, 0, 1+8*n)})
	}
	for name, d := range map[string]operation.WeeklyDigest{"busy": busy(), "empty": digest(time.Date(2026, 12, 31, 23, 0, 0, 0, time.UTC), 13), "many": many} {
		t.Run(name, func(t *testing.T) {
			got, err := Timeline(d, time.UTC)
			if err != nil {
				t.Fatal(err)
			}
			path := filepath.Join("testdata", name+".png")
			if *update {
				if err := os.WriteFile(path, got, 0o600); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			samePixels(t, got, want)
		})
	}
}

// samePixels compares pictures and not their bytes: how a picture is packed is the
// packer's business.
func samePixels(t *testing.T, got, want []byte) {
	t.Helper()
	a, err := png.Decode(bytes.NewReader(got))
	if err != nil {
		t.Fatal(err)
	}
	b, err := png.Decode(bytes.NewReader(want))
	if err != nil {
		t.Fatal(err)
	}
	if a.Bounds() != b.Bounds() {
		t.Fatalf("it is %v, and was %v", a.Bounds(), b.Bounds())
	}
	different := 0
	for y := range a.Bounds().Dy() {
		for x := range a.Bounds().Dx() {
			if a.At(x, y) != b.At(x, y) {
				different++
			}
		}
	}
	if different > 0 {
		t.Errorf("%d pixels are others; look at the picture, and run go test ./picture -update", different)
	}
}

// TestThePictureHasAGroundOfItsOwn: a transparent one has dark letters on dark ground
// in dark mode.
func TestThePictureHasAGroundOfItsOwn(t *testing.T) {
	got, err := Timeline(busy(), time.UTC)
	if err != nil {
		t.Fatal(err)
	}
	p, err := png.Decode(bytes.NewReader(got))
	if err != nil {
		t.Fatal(err)
	}
	for y := range p.Bounds().Dy() {
		for x := range p.Bounds().Dx() {
			if _, _, _, alpha := p.At(x, y).RGBA(); alpha != 0xffff {
				t.Fatalf("the pixel at %d, %d is transparent", x, y)
			}
		}
	}
}
