package audit

import (
	"bufio"
	"crypto/ed25519"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"strings"

	"golang.org/x/mod/sumdb/note"

	"github.com/twokey/twokey/operation"
)

// Key signs checkpoints. Its private half is in memory only.
type Key struct {
	signer   note.Signer
	verifier note.Verifier
	line     string
	vouch    []byte // for [Log.Vouch]
}

// Name returns the key's name, which stands in each signature.
func (k Key) Name() string { return k.signer.Name() }

// VerifierLine returns the public half as one line, "name+hash+key": all that
// somebody needs to check the record.
func (k Key) VerifierLine() string { return k.line }

// Verifiers returns the key's public half, ready for use.
func (k Key) Verifiers() note.Verifiers { return note.VerifierList(k.verifier) }

// GenerateKey makes an Ed25519 key with a name such as "twokey.example". The
// name may hold neither spaces nor "+".
func GenerateKey(name string) (private operation.Secret, verifier string, err error) {
	if name == "" || strings.ContainsAny(name, "+ \t\r\n") {
		return operation.Secret{}, "", operation.Refuse("key_name", "A key's name must not be empty nor hold spaces or %q; %q does.", "+", name)
	}
	skey, vkey, err := note.GenerateKey(rand.Reader, name)
	if err != nil {
		return operation.Secret{}, "", fmt.Errorf("generate the record's key: %w", err)
	}
	return operation.NewSecret(skey), vkey, nil
}

// WriteKey generates a key, writes its private half to path (mode 0600) and its
// verifier line to path with ".pub" added, and returns that line. It replaces no
// file: a lost key cannot sign on.
func WriteKey(path, name string) (verifier string, err error) {
	private, verifier, err := GenerateKey(name)
	if err != nil {
		return "", err
	}
	if err := writeNew(path, private.Reveal()+"\n", 0o600); err != nil {
		return "", err
	}
	if err := writeNew(path+".pub", verifier+"\n", 0o644); err != nil {
		return "", err
	}
	return verifier, nil
}

func writeNew(path, text string, mode os.FileMode) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, mode)
	if errors.Is(err, os.ErrExist) {
		return operation.RefuseBecause(err, "key_exists", "%s is already there. Move it away first; what it signed can only be checked with its verifier key.", path)
	}
	if err != nil {
		return fmt.Errorf("write the record's key: %w", err)
	}
	_, err = f.WriteString(text)
	if err := errors.Join(err, f.Sync(), f.Close()); err != nil {
		return fmt.Errorf("write the record's key: %w", err)
	}
	return nil
}

// ReadKey reads the private key at path. It refuses a file that everybody can
// read; the group may, because that is how Kubernetes mounts secrets.
func ReadKey(path string) (Key, error) {
	info, err := os.Stat(path)
	if err != nil {
		return Key{}, fmt.Errorf("read the record's key: %w", err)
	}
	if info.Mode().Perm()&0o027 != 0 {
		return Key{}, operation.Refuse("key_mode", "Others can read or change the record's key %s (mode %04o). Run: chmod 600 %s", path, info.Mode().Perm(), path)
	}
	text, err := os.ReadFile(path)
	if err != nil {
		return Key{}, fmt.Errorf("read the record's key: %w", err)
	}
	return ParseKey(operation.NewSecret(strings.TrimSpace(string(text))))
}

// ParseKey reads a private key's text, as [GenerateKey] made it. Its error never
// holds the text.
func ParseKey(private operation.Secret) (Key, error) {
	signer, err := note.NewSigner(private.Reveal())
	if err != nil {
		return Key{}, errors.New("read the record's key: not a note signing key")
	}
	// PRIVATE+KEY+name+hash+base64(algorithm byte, seed); NewSigner has checked it.
	parts := strings.SplitN(private.Reveal(), "+", 5)
	seed, err := base64.StdEncoding.DecodeString(parts[len(parts)-1])
	if err != nil || len(seed) != 1+ed25519.SeedSize {
		return Key{}, errors.New("read the record's key: not an Ed25519 key")
	}
	public, ok := ed25519.NewKeyFromSeed(seed[1:]).Public().(ed25519.PublicKey)
	if !ok {
		return Key{}, errors.New("read the record's key: not an Ed25519 key")
	}
	line, err := note.NewEd25519VerifierKey(signer.Name(), public)
	if err != nil {
		return Key{}, fmt.Errorf("derive the verifier key: %w", err)
	}
	verifier, err := note.NewVerifier(line)
	if err != nil {
		return Key{}, fmt.Errorf("derive the verifier key: %w", err)
	}
	return Key{signer: signer, verifier: verifier, line: line, vouch: code(seed[1:], "twokey: what only the key's holder writes")}, nil
}

// code is an HMAC-SHA256 over parts, each with its length before it.
func code(key []byte, parts ...string) []byte {
	mac := hmac.New(sha256.New, key)
	for _, p := range parts {
		var size [8]byte
		binary.BigEndian.PutUint64(size[:], uint64(len(p)))
		mac.Write(size[:])
		mac.Write([]byte(p))
	}
	return mac.Sum(nil)
}

// Vouch makes a code over parts that nobody can make without the record's key. It
// tells what this program wrote to its database from what others wrote there.
func (l *Log) Vouch(parts ...string) string {
	return base64.RawStdEncoding.EncodeToString(code(l.key.vouch, parts...))
}

// ParseVerifiers reads verifier lines: the present key's and those of keys that
// signed before it. Empty lines and lines that begin with # are passed over.
func ParseVerifiers(text string) (note.Verifiers, error) {
	var list []note.Verifier
	seen := map[string]bool{}
	lines := bufio.NewScanner(strings.NewReader(text))
	for n := 1; lines.Scan(); n++ {
		line := strings.TrimSpace(lines.Text())
		if line == "" || strings.HasPrefix(line, "#") || seen[line] {
			continue
		}
		v, err := note.NewVerifier(line)
		if err != nil {
			return nil, operation.RefuseBecause(err, "verifier_key", "Line %d is not a verifier key; one looks like name+1a2b3c4d+base64.", n)
		}
		seen[line] = true
		list = append(list, v)
	}
	if err := lines.Err(); err != nil {
		return nil, fmt.Errorf("read verifier keys: %w", err)
	}
	if len(list) == 0 {
		return nil, operation.Refuse("verifier_key", "There is no verifier key to check the record with. It is the line in the key's .pub file.")
	}
	return note.VerifierList(list...), nil
}

// ReadVerifiers is [ParseVerifiers] of the file at path.
func ReadVerifiers(path string) (note.Verifiers, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("read verifier keys: %w", err)
	}
	return ParseVerifiers(string(text))
}
