//go:build !linux

package main

import "syscall"

// lifeline is what other systems than Linux do not have.
func lifeline() *syscall.SysProcAttr { return nil }
