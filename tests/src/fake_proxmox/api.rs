//! The served paths and their responses.

use serde_json::{Value, json};

use super::{
    cluster::{Cluster, Generation, Guest, Kind, NODES},
    http::{Refusal, Request},
    power::check,
};

/// MAC address of every guest's only network card.
const MAC: &str = "BC:24:11:00:00:01";

type Answer = Result<Value, Refusal>;

impl Cluster {
    pub(super) fn answer(&mut self, asked: &Request) -> Answer {
        self.settle();
        self.asked.push((asked.method.clone(), format!("/{}", asked.path.join("/"))));
        let path: Vec<&str> = asked.path.iter().map(String::as_str).collect();
        match (asked.method.as_str(), path.as_slice()) {
            ("GET", ["cluster", "resources"]) => {
                check(asked, &["type"])?;
                Ok(self.resources())
            }
            ("GET", ["access", "permissions"]) => {
                check(asked, &["path", "userid"])?;
                Ok(self.permissions(asked.parameters.get("path").map_or("/", String::as_str)))
            }
            ("GET", ["nodes", node, "tasks", upid, "status"]) => {
                check(asked, &[])?;
                self.task(node, upid)
            }
            ("GET", ["nodes", node, kind @ ("lxc" | "qemu"), vmid, rest @ ..]) => {
                let vmid = number(vmid)?;
                let privilege = match rest {
                    ["agent", ..] => self.agent_privileges(),
                    _ => "VM.Audit",
                };
                self.may(vmid, privilege)?;
                self.at(node, kind, vmid)?;
                check(asked, if rest == ["config"] { &["current", "snapshot"] } else { &[] })?;
                self.query(vmid, rest, asked)
            }
            ("POST", ["nodes", node, kind @ ("lxc" | "qemu"), vmid, "status", action]) => {
                let vmid = number(vmid)?;
                self.may(vmid, "VM.PowerMgmt")?;
                self.at(node, kind, vmid)?;
                self.act(vmid, action, asked)
            }
            (method, _) => Err(not_implemented(method, asked)),
        }
    }

    /// Guests that the token may not see are omitted.
    fn resources(&self) -> Value {
        if !self.privileges.contains("VM.Audit") {
            return json!([]);
        }
        let item = |(vmid, guest): (&u32, &Guest)| {
            let kind = guest.kind.word();
            let mut item = json!({
                "id": format!("{kind}/{vmid}"), "type": kind, "vmid": vmid, "node": guest.node,
                "name": format!("guest{vmid}"), "status": self.last_broadcast(*vmid), "template": 0,
                "cpu": 0, "maxcpu": 1, "mem": guest.memory(), "maxmem": 536_870_912,
                "uptime": guest.uptime(),
            });
            if let Some(lock) = &guest.lock {
                item["lock"] = json!(lock);
            }
            item
        };
        self.guests.iter().map(item).collect()
    }

    fn permissions(&self, path: &str) -> Value {
        let held: serde_json::Map<_, _> =
            self.privileges.iter().map(|name| ((*name).to_owned(), json!(1))).collect();
        if held.is_empty() { json!({}) } else { json!({ path: held }) }
    }

    fn task(&self, node: &str, upid: &str) -> Answer {
        let task = self.tasks.iter().find(|task| task.upid == upid && task.node == node);
        let task = task.ok_or_else(|| Refusal::new(500, "no such task"))?;
        let mut status = json!({ "upid": upid, "node": node, "id": task.vmid.to_string() });
        match &task.action {
            Some(_) => status["status"] = json!("running"),
            None => {
                status["status"] = json!("stopped");
                status["exitstatus"] = json!(task.exit);
            }
        }
        Ok(status)
    }

    /// Privileges are checked before existence.
    fn may(&self, vmid: u32, privileges: &str) -> Result<(), Refusal> {
        if privileges.split('|').any(|one| self.privileges.contains(one)) {
            return Ok(());
        }
        let text = format!("Permission check failed (/vms/{vmid}, {privileges})");
        Err(Refusal::new(403, &text))
    }

    fn agent_privileges(&self) -> &'static str {
        match self.generation {
            Generation::Old => "VM.Monitor",
            Generation::New => "VM.GuestAgent.Audit|VM.GuestAgent.Unrestricted",
        }
    }

    fn at(&self, node: &str, kind: &str, vmid: u32) -> Result<(), Refusal> {
        if !NODES.contains(&node) {
            return Err(Refusal::new(596, "Connection timed out"));
        }
        if self.down.contains(node) {
            return Err(Refusal::new(595, "Connection refused"));
        }
        let here = |guest: &Guest| guest.node == node && guest.kind.word() == kind;
        if self.guests.get(&vmid).is_some_and(here) {
            return Ok(());
        }
        let directory = if kind == "lxc" { "lxc" } else { "qemu-server" };
        let text =
            format!("Configuration file 'nodes/{node}/{directory}/{vmid}.conf' does not exist");
        Err(Refusal::new(500, &text))
    }

    fn query(&mut self, vmid: u32, rest: &[&str], asked: &Request) -> Answer {
        let generation = self.generation;
        let guest = self.guest(vmid).map_err(|error| Refusal::new(500, &error.to_string()))?;
        match (guest.kind, rest) {
            (_, ["status", "current"]) => Ok(guest.current(vmid)),
            (_, ["config"]) => Ok(guest.config(vmid)),
            (Kind::Lxc, ["interfaces"]) => Ok(guest.interfaces(generation)),
            (Kind::Qemu, ["agent", "network-get-interfaces"]) => guest.agent(vmid),
            _ => Err(not_implemented("GET", asked)),
        }
    }
}

fn number(text: &str) -> Result<u32, Refusal> {
    text.parse().map_err(|_| Refusal::new(400, "Parameter verification failed."))
}

fn not_implemented(method: &str, asked: &Request) -> Refusal {
    let path = asked.path.join("/");
    Refusal::new(501, &format!("Method '{method} /{path}' not implemented"))
}

// === impl Guest ===

impl Guest {
    fn current(&self, vmid: u32) -> Value {
        let mut current = json!({
            "vmid": vmid, "name": format!("guest{vmid}"), "status": self.status(), "cpus": 1,
            "cpu": 0, "mem": self.memory(), "maxmem": 536_870_912, "uptime": self.uptime(),
            "ha": { "managed": u8::from(self.managed) },
        });
        if self.managed {
            current["ha"]["state"] = json!("started");
        }
        if self.kind == Kind::Qemu {
            current["agent"] = json!(1);
            current["qmpstatus"] = json!(if self.paused { "paused" } else { self.status() });
        }
        if let Some(lock) = &self.lock {
            current["lock"] = json!(lock);
        }
        current
    }

    fn config(&self, vmid: u32) -> Value {
        match self.kind {
            Kind::Lxc => json!({
                "hostname": format!("guest{vmid}"), "digest": "0",
                "net0": format!("name=eth0,bridge=vmbr0,hwaddr={MAC},ip=dhcp"),
            }),
            Kind::Qemu => json!({
                "name": format!("guest{vmid}"), "digest": "0", "agent": "1",
                "net0": format!("virtio={MAC},bridge=vmbr0"),
            }),
        }
    }

    fn ip(&self) -> String {
        self.backend.address().ip().to_string()
    }

    fn interfaces(&self, generation: Generation) -> Value {
        if self.process.is_none() {
            return Value::Null;
        }
        let (mac, ip) = (MAC.to_ascii_lowercase(), self.ip());
        let mut card = json!({
            "name": "eth0", "hwaddr": mac, "hardware-address": mac, "inet": format!("{ip}/8"),
            "inet6": "fe80::1/64",
        });
        if generation == Generation::New {
            card["ip-addresses"] = json!([
                { "ip-address": ip, "ip-address-type": "inet", "prefix": 8 },
                { "ip-address": "fe80::1", "ip-address-type": "inet6", "prefix": 64 },
            ]);
        }
        let local = json!({ "name": "lo", "hwaddr": "00:00:00:00:00:00", "inet": "127.0.0.1/8" });
        json!([local, card])
    }

    fn agent(&self, vmid: u32) -> Answer {
        if self.process.is_none() {
            return Err(Refusal::new(500, &format!("VM {vmid} is not running")));
        }
        if self.paused || self.started.elapsed() < self.agent {
            return Err(Refusal::new(500, "QEMU guest agent is not running"));
        }
        let ips = json!([{ "ip-address": self.ip(), "ip-address-type": "ipv4", "prefix": 8 }]);
        Ok(json!({ "result": [
            { "name": "lo", "ip-addresses": [{ "ip-address": "127.0.0.1", "ip-address-type": "ipv4", "prefix": 8 }] },
            { "name": "ens18", "hardware-address": MAC.to_ascii_lowercase(), "ip-addresses": ips },
        ] }))
    }
}
