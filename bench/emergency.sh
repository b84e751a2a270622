#!/bin/bash
# What a careful person does about a leaked secret with aws, curl and jq, step by step
# and with the bot's own proofs: the peer of the emergency benchmark, which passes the
# names in the environment. It prints when each step was done, in seconds since 1970.
set -euo pipefail

graph() { # method path [body]
  curl -sS --fail-with-body --cacert "$CA" -X "$1" -H "Authorization: Bearer $graph_token" -H 'Content-Type: application/json' ${3:+-d "$3"} "$ENTRA/v1.0/$2"
}
token() { # secret: prints the answer, granted or refused
  curl -sS --cacert "$CA" "$ENTRA/$TENANT/oauth2/v2.0/token" -d grant_type=client_credentials -d "client_id=$CLIENT" \
    --data-urlencode "client_secret=$1" --data-urlencode scope=https://graph.microsoft.com/.default
}
in_a_row() { # times command…: the command has to succeed so many times, half a second apart
  local n=$1 i=0
  shift
  while ((i < n)); do
    if "$@"; then i=$((i + 1)); else i=0; fi
    ((i == n)) || sleep 0.5
  done
}
done_with() { echo "done $(date +%s.%N) $*"; }
mcp() { # body: prints the answer, whether it is streamed or not
  curl -sS --fail-with-body "$MCP_URL" -H 'Content-Type: application/json' -H 'Accept: application/json, text/event-stream' \
    ${session:+-H "Mcp-Session-Id: $session"} -D "$headers" -d "$1"
}

key_is_gone() { ! graph GET "applications/$object" | jq -e --arg k "$old_key" '.passwordCredentials[] | select(.keyId == $k)' >/dev/null; }
old_is_refused() { token "$old_secret" | jq -e '.error_codes | index(7000215) != null' >/dev/null 2>&1; }
new_is_granted() { token "$new_secret" | jq -e .access_token >/dev/null; }
rolled_out() {
  aws ecs describe-services --cluster "$CLUSTER" --services "$SERVICE" |
    jq -e '.services[0] | (.deployments | length) == 1 and .deployments[0].rolloutState == "COMPLETED" and .runningCount == .desiredCount' >/dev/null
}

# Before the confirmation, as the bot's plan: signed in, and everything looked up.
headers=$(mktemp)
trap 'rm -f "$headers"' EXIT
assertion=$(aws sts get-web-identity-token --audience api://AzureADTokenExchange --signing-algorithm RS256 | jq -r .WebIdentityToken)
graph_token=$(curl -sS --cacert "$CA" "$ENTRA/$TENANT/oauth2/v2.0/token" -d grant_type=client_credentials -d "client_id=$BOT" \
  --data-urlencode scope=https://graph.microsoft.com/.default \
  -d client_assertion_type=urn:ietf:params:oauth:client-assertion-type:jwt-bearer -d "client_assertion=$assertion" | jq -r .access_token)
object=$(graph GET "applications(appId='$CLIENT')" | jq -r .id)
old_secret=$(aws ssm get-parameter --name "$PARAMETER" --with-decryption | jq -r .Parameter.Value)
old_key=$(graph GET "applications/$object" | jq -r --arg hint "${old_secret:0:3}" '.passwordCredentials[] | select(.hint == $hint) | .keyId')
session=
done_with ready

graph POST "applications/$object/removePassword" "{\"keyId\":\"$old_key\"}"
in_a_row 3 key_is_gone
done_with removed
in_a_row 5 old_is_refused
done_with refused

made=$(graph POST "applications/$object/addPassword" "{\"passwordCredential\":{\"displayName\":\"by hand $(date +%F)\",\"endDateTime\":\"$(date -u -d '+24 months' +%FT%TZ)\"}}")
new_secret=$(jq -r .secretText <<<"$made")
new_key=$(jq -r .keyId <<<"$made")
in_a_row 5 new_is_granted
version=$(aws ssm put-parameter --name "$PARAMETER" --type SecureString --overwrite --value "$new_secret" | jq -r .Version)
aws ssm label-parameter-version --name "$PARAMETER" --parameter-version "$version" --labels "key-$new_key" >/dev/null
[ "$(aws ssm get-parameter --name "$PARAMETER" --with-decryption | jq -r .Parameter.Value)" = "$new_secret" ]
written=$(date +%s.%N)
aws ecs update-service --cluster "$CLUSTER" --service "$SERVICE" --force-new-deployment >/dev/null
if [ "$POLL" = 0 ]; then
  aws ecs wait services-stable --cluster "$CLUSTER" --services "$SERVICE" # looks every 15 s
fi
until rolled_out; do sleep "$POLL"; done
tasks=$(aws ecs list-tasks --cluster "$CLUSTER" --service-name "$SERVICE" --desired-status RUNNING | jq -r '.taskArns | join(" ")')
# shellcheck disable=SC2086 # one word each
aws ecs describe-tasks --cluster "$CLUSTER" --tasks $tasks | jq -e --argjson w "$written" \
  '[.tasks[].createdAt | if type == "number" then . else (sub("\\.[0-9]+"; "") | sub("\\+00:00$"; "Z") | fromdateiso8601 + 1) end | . >= $w - 1] | all' >/dev/null
done_with deployed

curl -sS --fail-with-body "$HEALTH_URL" >/dev/null
mcp '{"jsonrpc":"2.0","id":1,"method":"initialize","params":{"protocolVersion":"2025-06-18","capabilities":{},"clientInfo":{"name":"curl","version":"8"}}}' >/dev/null
session=$(tr -d '\r' <"$headers" | sed -n 's/^mcp-session-id: //Ip')
mcp '{"jsonrpc":"2.0","method":"notifications/initialized"}' >/dev/null
mcp "{\"jsonrpc\":\"2.0\",\"id\":2,\"method\":\"tools/call\",\"params\":{\"name\":\"$TOOL\",\"arguments\":$ARGUMENTS}}" | grep -qF "$EXPECT"
done_with serves

graph GET "applications/$object" | jq -e '.passwordCredentials | length == 1' >/dev/null
done_with cleared

for name in GetParameter GetParameters GetParameterHistory GetParametersByPath PutParameter DeleteParameter DeleteParameters \
  LabelParameterVersion UnlabelParameterVersion ExecuteCommand UpdateService; do # what the bot looks up
  aws cloudtrail lookup-events --lookup-attributes "AttributeKey=EventName,AttributeValue=$name" >/dev/null
done
curl -sS --fail-with-body --cacert "$CA" -G -H "Authorization: Bearer $graph_token" "$ENTRA/beta/auditLogs/signIns" \
  --data-urlencode "\$filter=signInEventTypes/any(t: t eq 'servicePrincipal') and appId eq '$CLIENT'" >/dev/null
curl -sS --fail-with-body --cacert "$CA" -G -H "Authorization: Bearer $graph_token" "$ENTRA/v1.0/auditLogs/directoryAudits" \
  --data-urlencode "\$filter=targetResources/any(t: t/id eq '$object')" >/dev/null
done_with looked
