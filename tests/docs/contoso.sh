# The organisation that documents speak of: people, teams, what was deprovisioned, tokens. The server is left running.

scim() {
    command curl --silent --fail-with-body --request "$1" "http://127.0.0.1:$PORT/scim/v2$2" --header "Authorization: Bearer $TOKEN" \
        --header 'Content-Type: application/scim+json' ${3:+--data "$3"}
}
person() {
    scim POST /Users '{"schemas": ["urn:ietf:params:scim:schemas:core:2.0:User"], "userName": "'"$1"'@contoso.example",
        "externalId": "'"$1"'", "emails": [{"value": "'"$1"'@contoso.example", "type": "work"}]}' | jq --raw-output .id
}
group() {
    scim POST /Groups '{"schemas": ["urn:ietf:params:scim:schemas:core:2.0:Group"], "displayName": "'"$1"'",
        "externalId": "'"$1"'", "members": [{"value": "'"$2"'"}]}' | jq --raw-output .id
}
rollcall-program tenant create contoso
TOKEN=$(rollcall-program token create --tenant contoso)
export ROLLCALL_TOKEN=$(rollcall-program token create --tenant contoso --api --scope read,resources)
serve serve
# Made with the first client secret, that of the pretend provider here.
(server=; serve serve --dev --data "$SCRATCH/dev" --listen 127.0.0.1:0; stop) && mv "$SCRATCH/dev/rollcall.key" "$ROLLCALL_DATA"
ANA=$(person ana) BO=$(person bo) CY=$(person cy)
SRE=$(group SRE "$ANA") PLATFORM=$(group Platform "$BO")
ARCHIVED_TEAM=$(group Former "$ANA") FORGOTTEN_TEAM=$(group Forgotten "$ANA") ARCHIVED_USER=$CY
scim DELETE "/Groups/$ARCHIVED_TEAM"
scim DELETE "/Groups/$FORGOTTEN_TEAM"
scim DELETE "/Users/$CY"
