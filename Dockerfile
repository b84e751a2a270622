# Built and run without root; one static file in the end.
#   docker build -t twokey .
#   docker run -v twokey:/data -v ./twokey.yml:/etc/twokey/twokey.yml:ro -e SLACK_APP_TOKEN -e SLACK_BOT_TOKEN twokey

FROM golang:1.26 AS build
WORKDIR /src
# The modules change seldom, so they have a layer of their own.
COPY go.mod go.sum ./
RUN go mod download
COPY . .
# The same source gives the same bytes: no paths, no build id, no version control stamp.
# What waits for the network is compiled without inlining: two megabytes less, and no slower. SQLite keeps it.
# --build-arg TAGS=otlp for traces by OpenTelemetry.
ARG TAGS=
RUN CGO_ENABLED=0 go build -trimpath -buildvcs=false -tags="$TAGS" -ldflags='-s -w -buildid=' -gcflags='github.com/...=-l' -o /out/twokey . \
 && mkdir /out/data

# Certificates and time zones, no shell, user 65532.
FROM gcr.io/distroless/static-debian12:nonroot
COPY --from=build /out/twokey /usr/local/bin/twokey
COPY --from=build --chown=nonroot:nonroot /out/data /data
# SQLite's file and the record's key are relative to here; the volume must outlive the container.
WORKDIR /data
VOLUME /data
USER nonroot:nonroot
# Health and metrics, reachable from outside once the configuration has `listen: :8080`.
EXPOSE 8080
# There is no curl in the image: the program asks itself.
HEALTHCHECK --interval=30s --timeout=5s --start-period=10s \
  CMD ["/usr/local/bin/twokey", "health"]
ENTRYPOINT ["/usr/local/bin/twokey"]
CMD ["run", "--config", "/etc/twokey/twokey.yml"]
