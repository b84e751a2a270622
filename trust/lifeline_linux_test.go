package main

import "syscall"

// lifeline has the system kill a replica when this test binary is gone.
func lifeline() *syscall.SysProcAttr { return &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL} }
