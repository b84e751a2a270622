package main

import (
	"context"
	"io"
)

type rotationBenchmark struct{}

func (b *rotationBenchmark) Run(context.Context, io.Writer) error { return nil }
