// scimmy-routers on express with maps for its storage. It leaves storing and finding to its user; the maps by name are
// so that what is measured is SCIMMY and not a scan of ours.
import { randomUUID } from "node:crypto";
import express from "express";
import SCIMMY from "scimmy";
import SCIMMYRouters from "scimmy-routers";

function stored(type, nameAttribute) {
    const byId = new Map();
    const byName = new Map();
    const key = (name) => name.toLowerCase();
    const missing = () => new SCIMMY.Types.Error(404, null, "not found");
    return SCIMMY.Resources.declare(type)
        .ingress((resource, data) => {
            const known = byId.get(resource.id);
            if (resource.id && !known) throw missing();
            const name = key(data[nameAttribute]);
            const holder = byName.get(name);
            if (holder && holder !== known?.id) throw new SCIMMY.Types.Error(409, "uniqueness", "the name is taken");
            if (known) byName.delete(key(known[nameAttribute]));
            const id = known?.id ?? randomUUID();
            const now = new Date().toISOString();
            const after = { ...data, id, meta: { created: known?.meta.created ?? now, lastModified: now } };
            byId.set(id, after);
            byName.set(name, id);
            return after;
        })
        .egress((resource) => {
            if (resource.id) {
                const found = byId.get(resource.id);
                if (!found) throw missing();
                return found;
            }
            const wanted = resource.filter?.length === 1 && resource.filter[0][nameAttribute];
            if (Array.isArray(wanted) && wanted[0] === "eq") {
                const found = byId.get(byName.get(key(wanted[1])));
                return found ? [found] : [];
            }
            const all = [...byId.values()];
            return resource.filter ? resource.filter.match(all) : all;
        })
        .degress((resource) => {
            const known = byId.get(resource.id);
            if (!known) throw missing();
            byId.delete(known.id);
            byName.delete(key(known[nameAttribute]));
        });
}

SCIMMY.Resources.User.extend(SCIMMY.Schemas.EnterpriseUser, false);
stored(SCIMMY.Resources.User, "userName");
stored(SCIMMY.Resources.Group, "displayName");

const app = express();
app.use("/scim", new SCIMMYRouters({ type: "bearer", handler: () => "bench" }));
app.listen(Number(process.argv[2]), "127.0.0.1");
