// Package evidence writes a folder that an auditor can check without twokey: what
// secrets there are and how old they are, every rotation and emergency with who asked
// and who confirmed, its steps and proofs, refusals, drills, and the part of the signed
// record that all of it is drawn from. Package checker checks it.
package evidence
