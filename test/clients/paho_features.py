"""Every feature of MQTT that paho exposes, against a broker that offers them all.

Usage: paho_features.py SETTINGS; see paho_suite.py for the settings they share and
for the lines. Besides those:
  name                          stands in every client identifier and topic
  tenant, small                 ports of a listener with a mountpoint, and of one
                                that offers little
test/features_test.go has the broker's configuration and the list of cases.
Nothing here sleeps: a second that must pass is a message of the broker's that
comes a second later.
"""

import json
import os
import queue
import socket
import sys
import traceback

import paho.mqtt.client as mqtt
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.subscribeoptions import SubscribeOptions

from paho_suite import SETTINGS, WAIT, Peer, code

NAME = SETTINGS["name"]
V5 = mqtt.MQTTv5
ME = SETTINGS["user"]


def properties(packet, **values):
    p = Properties(packet)
    for name, value in values.items():
        setattr(p, name, value)
    return p


class Client(Peer):
    """A Peer that keeps what CONNACK and DISCONNECT say."""

    def __init__(self, version, client_id, clean=True):
        super().__init__(version, client_id and f"{NAME}-{client_id}", clean)
        self.connack = {}
        self.goodbye = {}
        self.kept = []
        self.on_connect = self.connected
        self.on_disconnect = self.disconnected

    def connected(self, _, __, flags, rc, p=None):
        self.connack = p.json() if p else {}
        self.put("connect", code(rc), flags)

    def disconnected(self, _, __, rc, p=None):
        self.goodbye = p.json() if p else {}
        self.put("disconnect", code(rc))

    def expect(self, kind):
        """The next event of this kind. Others before it are kept: a message may come
        before the acknowledgement of its own publisher."""
        for i, event in enumerate(self.kept):
            if event[0] == kind:
                return self.kept.pop(i)[1:]
        while True:
            try:
                event = self.events.get(timeout=WAIT)
            except queue.Empty:
                raise AssertionError(f"no {kind} within {WAIT} s; {self.kept}") from None
            if event[0] == kind:
                return event[1:]
            if event[0] == "disconnect":
                raise AssertionError(f"disconnected ({event[1:]}) instead of {kind}")
            self.kept.append(event)

    def enter(self, port=None, user=None, keepalive=30, will=None, **connect):
        """Connects with these properties and answers whether a session was there."""
        if user:
            self.username_pw_set(user, SETTINGS["other_password"])
        arguments = {}
        if self.version == V5:
            if self.clean is False:
                connect.setdefault("SessionExpiryInterval", 3600)
            arguments = {"clean_start": self.clean, "properties": properties(PacketTypes.CONNECT, **connect)}
        if will:
            self.will_set(**will)
        self.connect(SETTINGS["host"], port or SETTINGS["port"], keepalive=keepalive, **arguments)
        self.loop_start()
        rc, flags = self.expect("connect")
        assert rc == 0, f"refused: {rc}"
        return flags["session present"]

    # paho's thread notices a loop_stop after up to a second; nobody waits for it here.
    def close(self):
        self.disconnect()

    def cut(self):
        with socket.socket(fileno=os.dup(self.socket().fileno())) as s:
            s.shutdown(socket.SHUT_RDWR)

    def say(self, topic, payload, qos=1, retain=False, **publish):
        p = properties(PacketTypes.PUBLISH, **publish) if publish else None
        self.publish(topic, payload, qos, retain, **({"properties": p} if p else {}))
        if qos:
            self.expect("publish")

    def ask(self, topic, qos=1, identifier=None, **options):
        """Subscribes and answers the codes."""
        if self.version != V5:
            self.subscribe(topic, qos)
        else:
            p = properties(PacketTypes.SUBSCRIBE, SubscriptionIdentifier=identifier) if identifier else None
            self.subscribe(topic, options=SubscribeOptions(qos=qos, **options), properties=p)
        return self.expect("subscribe")[0]

    def nothing_before(self, topic, payload=b"marker"):
        """Nothing but the marker comes."""
        self.say(topic, payload)
        self.get(payload)


def t(name):
    return f"devices/{ME}/{NAME}/{name}"


def failure(version, reason):
    return reason if version == V5 else 0x80


# 5.0 only


def session_expiry():
    a = Client(V5, "se", clean=False)
    assert not a.enter(SessionExpiryInterval=100)
    assert "SessionExpiryInterval" not in a.connack, a.connack
    a.cut()
    b = Client(V5, "se", clean=False)
    assert b.enter(SessionExpiryInterval=0xFFFFFFFF), "the session is gone"
    assert b.connack["SessionExpiryInterval"] == 7 * 24 * 3600, b.connack
    b.disconnect(properties=properties(PacketTypes.DISCONNECT, SessionExpiryInterval=0))
    b.expect("disconnect")
    c = Client(V5, "se", clean=False)
    assert not c.enter(), "the session outlived DISCONNECT with Session Expiry 0"
    c.close()


def will_delay():
    w = Client(V5, "wd-w")
    w.enter()
    w.ask(t("wd"))
    p = properties(PacketTypes.WILLMESSAGE, WillDelayInterval=1, ContentType="text/plain")
    p.UserProperty = ("k", "v")
    will = {"topic": t("wd"), "payload": b"gone", "qos": 1, "properties": p}
    a = Client(V5, "wd-a", clean=False)
    a.enter(will=will)
    a.cut()
    w.nothing_before(t("wd"))
    m = w.get(b"gone")
    assert m.properties.ContentType == "text/plain" and m.properties.UserProperty == [("k", "v")], m.properties
    p.WillDelayInterval = 1000
    b = Client(V5, "wd-a", clean=False)
    b.enter(will=will)
    b.cut()
    c = Client(V5, "wd-a", clean=False)
    assert c.enter(), "the session is gone"
    w.nothing_before(t("wd"), b"after the return")
    c.close()
    w.close()


def alias_in():
    """The client uses an alias."""
    a = Client(V5, "ai")
    a.enter()
    assert a.connack["TopicAliasMaximum"] == 32, a.connack
    a.ask(t("ai"))
    a.say(t("ai"), b"1", TopicAlias=7)
    a.say("", b"2", TopicAlias=7)
    for payload in (b"1", b"2"):
        assert a.get(payload).topic == t("ai")
    a.close()


def alias_out():
    """The broker uses one. paho shows it, and leaves the topic out as it came."""
    a = Client(V5, "ao")
    a.enter(TopicAliasMaximum=5)
    a.ask(t("ao"))
    a.say(t("ao"), b"1")
    first = a.get(b"1")
    a.say(t("ao"), b"2")
    second = a.get(b"2")
    assert first.topic == t("ao") and second.topic == "", (first.topic, second.topic)
    assert 1 <= first.properties.TopicAlias == second.properties.TopicAlias <= 5
    a.close()


def maximum_packet():
    a = Client(V5, "mp")
    a.enter(MaximumPacketSize=200)
    assert a.connack["MaximumPacketSize"] == 65536 and a.connack["ReceiveMaximum"] == 32, a.connack
    a.ask(t("mp"))
    a.say(t("mp"), b"x" * 200)
    a.nothing_before(t("mp"))
    a.publish(t("mp"), b"x" * 70000, 1)
    (rc,) = a.expect("disconnect")
    assert rc == 0x95, rc


def subscription_identifiers():
    a = Client(V5, "si")
    a.enter()
    a.ask(t("si/#"), identifier=1)
    a.ask(t("si/+"), identifier=268435455)
    a.say(t("si/x"), b"x")
    assert sorted(a.get(b"x").properties.SubscriptionIdentifier) == [1, 268435455]
    a.nothing_before(t("si/x"))
    a.close()


def no_local():
    a = Client(V5, "nl-a")
    a.enter()
    a.ask(t("nl"), noLocal=True)
    b = Client(V5, "nl-b")
    b.enter()
    a.say(t("nl"), b"own")
    b.say(t("nl"), b"other's")
    a.get(b"other's")
    a.close()
    b.close()


def retain_options():
    """Retain As Published and Retain Handling."""
    a = Client(V5, "ro")
    a.enter()
    a.say(t("ro"), b"kept", retain=True)
    a.ask(t("ro"), retainHandling=SubscribeOptions.RETAIN_DO_NOT_SEND, retainAsPublished=True)
    a.say(t("ro"), b"live", retain=True)
    assert a.get(b"live").retain, "the flag was taken away"
    a.ask(t("ro"), retainHandling=SubscribeOptions.RETAIN_SEND_IF_NEW_SUB)
    a.nothing_before(t("ro"))
    a.ask(t("ro"))
    assert a.get(b"live").retain
    a.say(t("ro"), b"plain", retain=True)
    assert not a.get(b"plain").retain, "the flag of a live message was kept"
    a.say(t("ro"), b"", retain=True)
    a.close()


def message_expiry():
    a = Client(V5, "me", clean=False)
    a.enter()
    a.ask(t("me"))
    a.cut()
    b = Client(V5, "me-b")
    b.enter()
    b.say(t("me"), b"short", MessageExpiryInterval=1)
    b.say(t("me"), b"long", MessageExpiryInterval=100)
    b.ask(t("me/later"))
    b.say("$delayed/2/" + t("me/later"), b"two seconds later")
    b.get(b"two seconds later")
    c = Client(V5, "me", clean=False)
    assert c.enter()
    left = c.get(b"long").properties.MessageExpiryInterval
    assert 60 <= left <= 99, left
    c.nothing_before(t("me"))
    c.close()
    b.close()


def request_response():
    a = Client(V5, "rr-a")
    a.enter(RequestResponseInformation=1)
    assert a.connack["ResponseInformation"] == "replies/", a.connack
    b = Client(V5, "rr-b")
    b.enter()
    assert "ResponseInformation" not in b.connack, b.connack
    back = a.connack["ResponseInformation"] + NAME
    a.ask(back)
    b.ask(t("rr"))
    a.say(t("rr"), b"question", ResponseTopic=back, CorrelationData=b"\x00\x01")
    p = b.get(b"question").properties
    b.say(p.ResponseTopic, b"answer", CorrelationData=p.CorrelationData)
    assert a.get(b"answer").properties.CorrelationData == b"\x00\x01"
    a.close()
    b.close()


def user_properties():
    want = [("b", "2"), ("a", "1"), ("b", "3"), ("", "")]
    a = Client(V5, "up")
    a.enter()
    a.ask(t("up"))
    p = Properties(PacketTypes.PUBLISH)
    for pair in want:
        p.UserProperty = pair
    a.publish(t("up"), b"x", 1, properties=p)
    have = a.get(b"x").properties.UserProperty
    assert have == want, have
    a.close()


def server_keep_alive():
    a = Client(V5, "sk")
    a.enter(keepalive=600)
    assert a.connack["ServerKeepAlive"] == 300, a.connack
    a.close()
    b = Client(V5, "sk")
    b.enter(keepalive=200)
    assert "ServerKeepAlive" not in b.connack, b.connack
    b.close()


def assigned_id():
    ids = []
    for _ in range(2):
        a = Client(V5, "")
        a.enter()
        ids.append(a.connack["AssignedClientIdentifier"])
        a.close()
    assert ids[0] != ids[1] and all(ids), ids


def reasons():
    """What a developer sees: codes of acknowledgements, and the words of DISCONNECT."""
    a = Client(V5, "rs")
    a.enter()
    a.publish(t("rs/nobody"), b"x", 1)
    assert a.expect("puback") == (0x10,)
    a.publish(t("rs/nobody"), b"x", 2)
    assert a.expect("pubrec") == (0x10,)
    a.on_unsubscribe = lambda c, u, mid, p, rcs: a.put("codes", [code(r) for r in (rcs if isinstance(rcs, list) else [rcs])])
    a.unsubscribe(t("rs/never"))
    assert a.expect("codes") == ([0x11],)
    a.publish(t("rs"), b"x", 1, properties=properties(PacketTypes.PUBLISH, TopicAlias=33))
    (rc,) = a.expect("disconnect")
    assert rc == 0x94, rc
    assert "MQTT-3.3.2-9" in a.goodbye["ReasonString"], a.goodbye


def small_listener():
    a = Client(V5, "sm")
    a.enter(port=SETTINGS["small"])
    want = {"MaximumQoS": 1, "RetainAvailable": 0, "WildcardSubscriptionAvailable": 0, "SharedSubscriptionAvailable": 0}
    have = {k: a.connack.get(k) for k in want}
    assert have == want, a.connack
    assert a.ask(t("sm/#")) == [0xA2]
    assert a.ask(t("sm"), qos=2) == [1]
    assert a.ask("$share/g/" + t("sm")) == [0x9E]
    a.publish(t("sm"), b"x", 1, retain=True)
    (rc,) = a.expect("disconnect")
    assert rc == 0x9A, rc
    assert "MQTT-3.2.2-14" in a.goodbye["ReasonString"], a.goodbye


# every version


def resume(v):
    a = Client(v, f"re-{v}", clean=False)
    a.enter()
    a.ask(t("re"))
    a.cut()
    b = Client(v, f"re-b-{v}")
    b.enter()
    for i in range(5):
        b.say(t("re"), str(i).encode())
    c = Client(v, f"re-{v}", clean=False)
    present = c.enter()
    assert present or v == mqtt.MQTTv31, "the session is gone"
    for i in range(5):
        c.get(str(i).encode())
    c.close()
    b.close()
    d = Client(v, f"re-{v}", clean=True)
    assert not d.enter()
    d.ask(t("re/own"))
    d.nothing_before(t("re/own"))
    d.close()


def round_trip(v):
    a = Client(v, f"rt-{v}")
    a.enter()
    assert a.ask(t("rt"), 2) == [2]
    for qos in (0, 1, 2):
        a.say(t("rt"), f"{qos}".encode(), qos)
        assert a.get(f"{qos}".encode()).qos == qos
    a.close()


def will(v):
    w = Client(v, f"wi-w-{v}")
    w.enter()
    w.ask(t("wi"))
    a = Client(v, f"wi-{v}")
    a.enter(will={"topic": t("wi"), "payload": b"gone", "qos": 1})
    a.cut()
    w.get(b"gone")
    w.close()


def sys_topics(v):
    a = Client(v, f"sy-{v}")
    a.enter()
    assert a.ask("$SYS/broker/uptime") == [1]
    (m,) = a.expect("message")
    assert m.retain and b"seconds" in m.payload, m.payload
    (m,) = a.expect("message")
    assert not m.retain and b"seconds" in m.payload, m.payload
    a.close()
    b = Client(v, f"sy-b-{v}")
    b.enter(user=SETTINGS["other"])
    if v == mqtt.MQTTv31:
        b.subscribe("$SYS/broker/uptime")
        b.expect("disconnect")
        return
    assert b.ask("$SYS/broker/uptime") == [failure(v, 0x87)]
    b.close()


def events(v):
    a = Client(v, f"ev-{v}")
    a.enter()
    a.ask("$events/client/#")
    b = Client(v, f"ev-b-{v}")
    b.enter()
    b.close()
    told = []
    while len(told) < 2:
        (m,) = a.expect("message")
        e = json.loads(m.payload)
        if e["clientid"] == f"{NAME}-ev-b-{v}":
            assert e["event"] == m.topic and e["username"] == ME, e
            told.append(m.topic)
    assert told == ["$events/client/connected", "$events/client/disconnected"], told
    a.close()


def delayed(v):
    a = Client(v, f"de-{v}")
    a.enter()
    a.ask(t("de"))
    a.say("$delayed/1/" + t("de"), b"later")
    a.say(t("de"), b"now")
    a.get(b"now")
    assert a.get(b"later").topic == t("de")
    a.close()


def exclusive(v):
    a, b = Client(v, f"ex-a-{v}"), Client(v, f"ex-b-{v}")
    a.enter()
    b.enter()
    assert a.ask("$exclusive/" + t("ex")) == [1]
    if v == mqtt.MQTTv31:
        b.subscribe("$exclusive/" + t("ex"))
        b.expect("disconnect")
    else:
        assert b.ask("$exclusive/" + t("ex")) == [failure(v, 0x97)]
        b.close()
    a.say(t("ex"), b"mine")
    assert a.get(b"mine").topic == t("ex")
    a.close()


def rewrite(v):
    a = Client(v, f"rw-{v}")
    a.enter()
    a.ask(f"old/{NAME}/#")
    a.say(f"old/{NAME}/x", b"x")
    assert a.get(b"x").topic == f"new/{NAME}/x"
    a.close()


def auto_subscribe(v):
    a = Client(v, f"as-{v}")
    a.enter()
    a.say(f"auto/{NAME}-as-{v}", b"x")
    assert a.get(b"x").qos == 1
    a.close()


def mountpoint(v):
    a, b = Client(v, f"mo-a-{v}"), Client(v, f"mo-b-{v}")
    a.enter(port=SETTINGS["tenant"])
    b.enter()
    a.ask(f"{NAME}/#")
    b.ask(f"tenants/{ME}/{NAME}/#")
    a.say(f"{NAME}/x", b"x")
    assert a.get(b"x").topic == f"{NAME}/x"
    assert b.get(b"x").topic == f"tenants/{ME}/{NAME}/x"
    a.close()
    b.close()


def shared(v):
    """Two members take turns; both get nothing twice."""
    members = [Client(v, f"sh-{i}-{v}") for i in range(2)]
    for m in members:
        m.enter()
        m.ask(f"$share/{NAME}/" + t("sh"))
    a = Client(v, f"sh-a-{v}")
    a.enter()
    for i in range(4):
        a.say(t("sh"), str(i).encode())
    for i in range(4):
        members[i % 2].get(str(i).encode())
    for c in (*members, a):
        c.close()


ONLY_V5 = [
    session_expiry, will_delay, alias_in, alias_out, maximum_packet, subscription_identifiers, no_local, retain_options,
    message_expiry, request_response, user_properties, server_keep_alive, assigned_id, reasons, small_listener,
]
EVERY = [round_trip, resume, will, sys_topics, events, delayed, exclusive, rewrite, auto_subscribe, mountpoint, shared]


def main():
    cases = [(f"v5/{c.__name__}", c, ()) for c in ONLY_V5]
    for name, version in (("v31", mqtt.MQTTv31), ("v311", mqtt.MQTTv311), ("v5", V5)):
        cases += [(f"{name}/{c.__name__}", c, (version,)) for c in EVERY]
    for name, case, arguments in cases:
        if SETTINGS["path"] and name.endswith(("/mountpoint", "/small_listener")):
            continue  # those listeners are not WebSocket
        line = {"case": name, "ok": True, "detail": ""}
        try:
            case(*arguments)
        except Exception:  # a case reports whatever stopped it
            line["ok"], line["detail"] = False, traceback.format_exc()
        print(json.dumps(line), flush=True)
    sys.stdout.flush()
    os._exit(0)  # threads of clients that were cut may still look for their sockets


main()
