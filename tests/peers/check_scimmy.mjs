// scimmy-routers on express, with maps for its storage: a peer for check_peers.py, which copies it beside its node_modules.
// It leaves storing to its user; this does that as an attentive user would, so that what is found is SCIMMY's.
import { randomUUID } from "node:crypto";
import express from "express";
import SCIMMY from "scimmy";
import SCIMMYRouters from "scimmy-routers";

const [, , port, token] = process.argv;

function stored(type, nameAttribute) {
    const byId = new Map();
    const missing = () => new SCIMMY.Types.Error(404, null, "not found");
    const key = (data) => data[nameAttribute].toLowerCase();
    const content = (data) => JSON.stringify({ ...data, id: undefined, meta: undefined });
    return SCIMMY.Resources.declare(type)
        .ingress((resource, data) => {
            const known = byId.get(resource.id);
            if (resource.id && !known) throw missing();
            const isTaken = [...byId.values()].some((other) => other !== known && key(other) === key(data));
            if (isTaken) throw new SCIMMY.Types.Error(409, "uniqueness", "the name is taken");
            const id = known?.id ?? randomUUID();
            const now = new Date().toISOString();
            const isSame = known && content(known) === content(data);
            const lastModified = isSame ? known.meta.lastModified : now;
            const after = { ...data, id, meta: { created: known?.meta.created ?? now, lastModified } };
            byId.set(id, after);
            return after;
        })
        .egress((resource) => {
            if (resource.id) {
                const found = byId.get(resource.id);
                if (!found) throw missing();
                return found;
            }
            const all = [...byId.values()];
            return resource.filter ? resource.filter.match(all) : all;
        })
        .degress((resource) => {
            if (!byId.delete(resource.id)) throw missing();
        });
}

SCIMMY.Resources.User.extend(SCIMMY.Schemas.EnterpriseUser, false);
stored(SCIMMY.Resources.User, "userName");
stored(SCIMMY.Resources.Group, "displayName");

function handler(request) {
    if (request.header("Authorization") !== `Bearer ${token}`) throw new Error("a wrong token");
    return "check";
}

const app = express();
app.use("/scim", new SCIMMYRouters({ type: "bearer", handler }));
app.listen(Number(port), "127.0.0.1");
