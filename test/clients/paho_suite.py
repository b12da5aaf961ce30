"""Runs paho against a broker and prints one JSON line per case.

Usage: paho_suite.py SETTINGS, where SETTINGS is a JSON object:
  host, port, ca                the listener and what to trust
  user, password                may use devices/USER/#
  other, other_password         another user, with the same rights on its own name

Every case runs with MQTT 3.1.1 and with 5.0. A line is
  {"case": "v5/resume", "ok": true, "detail": "..."}
and test/paho_test.go fails for every line that is not ok and for every case
that is missing. Nothing here sleeps: each step waits for its event.
"""

import json
import queue
import ssl
import sys
import traceback

import paho.mqtt.client as mqtt
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.subscribeoptions import SubscribeOptions

SETTINGS = json.loads(sys.argv[1])
WAIT = 20  # seconds; a limit for hanging, not a pause
NOT_AUTHORIZED = 0x87
TAKEN_OVER = 0x8E


class Peer(mqtt.Client):
    """A client whose callbacks are events in a queue."""

    def __init__(self, version, client_id, clean=True):
        arguments = {"client_id": client_id, "protocol": version,
                     "transport": "websockets" if SETTINGS["path"] else "tcp"}
        if version != mqtt.MQTTv5:
            arguments["clean_session"] = clean
        if hasattr(mqtt, "CallbackAPIVersion"):  # paho 2
            super().__init__(mqtt.CallbackAPIVersion.VERSION1, **arguments)
        else:
            super().__init__(**arguments)
        self.version = version
        self.clean = clean
        self.events = queue.Queue()
        self.tls_set(ca_certs=SETTINGS["ca"], tls_version=ssl.PROTOCOL_TLS_CLIENT)
        if SETTINGS["path"]:
            self.ws_set_options(path=SETTINGS["path"])
        self.username_pw_set(SETTINGS["user"], SETTINGS["password"])
        self.reconnect_on_failure = False
        self._reconnect_on_failure = False
        self.on_connect = lambda c, u, flags, rc, p=None: self.put("connect", code(rc), flags)
        self.on_disconnect = lambda c, u, rc, p=None: self.put("disconnect", code(rc))
        self.on_subscribe = lambda c, u, mid, granted, p=None: self.put("subscribe", [code(g) for g in granted])
        self.on_unsubscribe = lambda c, u, mid, *rest: self.put("unsubscribe")
        self.on_message = lambda c, u, m: self.put("message", m)
        self.on_publish = lambda c, u, mid, *rest: self.put("publish", mid)

    def put(self, kind, *values):
        self.events.put((kind, *values))

    def expect(self, kind):
        """The next event of this kind; others before it are dropped, except
        that a disconnect nobody expects is an error."""
        while True:
            try:
                event = self.events.get(timeout=WAIT)
            except queue.Empty:
                raise AssertionError(f"no {kind} within {WAIT} s") from None
            if event[0] == kind:
                return event[1:]
            if event[0] == "disconnect":
                raise AssertionError(f"disconnected ({event[1:]}) instead of {kind}")

    def open(self, user=None, password=None, expiry=0):
        if user:
            self.username_pw_set(user, password)
        arguments = {}
        if self.version == mqtt.MQTTv5:
            properties = Properties(PacketTypes.CONNECT)
            properties.SessionExpiryInterval = expiry
            arguments = {"clean_start": self.clean, "properties": properties}
        self.connect(SETTINGS["host"], SETTINGS["port"], keepalive=30, **arguments)
        self.loop_start()
        rc, flags = self.expect("connect")
        assert rc == 0, f"refused: {rc}"
        return flags["session present"]

    def close(self):
        self.disconnect()
        self.loop_stop()

    def cut(self):
        """Ends the connection without DISCONNECT."""
        self.loop_stop()
        self.socket().close()

    def add(self, topic, qos, **options):
        if self.version == mqtt.MQTTv5:
            self.subscribe(topic, options=SubscribeOptions(qos=qos, **options))
        else:
            self.subscribe(topic, qos)
        return self.expect("subscribe")[0]

    def get(self, payload):
        (message,) = self.expect("message")
        assert message.payload == payload, f"got {message.payload!r}, want {payload!r}"
        return message

    # paho 1.x reads the reason codes of acknowledgements and of short DISCONNECTs
    # and keeps them to itself.
    def _handle_pubackcomp(self, cmd):
        packet = self._in_packet["packet"]
        self.put("puback", packet[2] if len(packet) > 2 else 0)
        return super()._handle_pubackcomp(cmd)

    def _handle_disconnect(self):
        packet = self._in_packet["packet"]
        self.put("goodbye", packet[0] if len(packet) > 0 else 0)
        return super()._handle_disconnect()

    def _handle_pubrec(self):
        packet = self._in_packet["packet"]
        self.put("pubrec", packet[2] if len(packet) > 2 else 0)
        return super()._handle_pubrec()


def code(rc):
    """The number of a reason code, which paho shows as one of three types."""
    if rc is None:
        return 0
    return getattr(rc, "value", rc)


def topic(name):
    return f"devices/{SETTINGS['user']}/{name}"


def round_trip(version):
    """A message of each QoS arrives at that QoS, and an empty one arrives."""
    a = Peer(version, "rt-a")
    a.open()
    assert a.add(topic("rt/#"), 2) == [2]
    for qos in (0, 1, 2):
        for payload in (f"qos {qos}".encode(), b""):
            a.publish(topic(f"rt/{qos}"), payload, qos)
            message = a.get(payload)
            assert message.qos == qos and not message.retain, (message.qos, message.retain)
    a.unsubscribe(topic("rt/#"))
    a.expect("unsubscribe")
    a.close()


def retained(version):
    """A later subscriber gets it with the retain flag; an empty one clears it."""
    a = Peer(version, "ret-a")
    a.open()
    a.publish(topic("ret"), b"kept", 1, retain=True)
    a.expect("publish")
    b = Peer(version, "ret-b")
    b.open()
    b.add(topic("ret"), 1)
    assert b.get(b"kept").retain
    a.publish(topic("ret"), b"", 1, retain=True)
    a.expect("publish")
    assert not b.get(b"").retain
    b.add(topic("+"), 1)
    a.publish(topic("ret"), b"not retained", 1)
    assert not b.get(b"not retained").retain, "the cleared message came back"
    a.close()
    b.close()


def will(version):
    """A connection that is cut leaves its will; one that says goodbye does not."""
    watcher = Peer(version, "will-w")
    watcher.open()
    watcher.add(topic("will/#"), 1)
    for how, expected in (("polite", b"after polite"), ("cut", b"gone")):
        a = Peer(version, f"will-{how}")
        a.will_set(topic("will/" + how), b"gone", 1)
        a.open()
        if how == "cut":
            a.cut()
        else:
            a.close()
            watcher.publish(topic("will/marker"), expected, 1)
        watcher.get(expected)
    watcher.close()


def denied_publish(version):
    """5.0: PUBACK and PUBREC 0x87, and the connection stays. 3.1.1: it closes."""
    foreign = f"devices/{SETTINGS['other']}/x"
    watcher = Peer(version, "dp-w")
    watcher.open(SETTINGS["other"], SETTINGS["other_password"])
    watcher.add(foreign, 1)
    a = Peer(version, "dp-a")
    a.open()
    if version == mqtt.MQTTv5:
        a.publish(foreign, b"intruder", 1)
        assert a.expect("puback") == (NOT_AUTHORIZED,)
        a.publish(topic("fine"), b"fine", 1)
        (rc,) = a.expect("puback")
        assert rc < 0x80, rc
        b = Peer(version, "dp-b")
        b.open()
        b.publish(foreign, b"intruder", 2)
        assert b.expect("pubrec") == (NOT_AUTHORIZED,)
        b.close()
        a.close()
    else:
        for qos in (1, 2):
            a.publish(foreign, b"intruder", qos)
            (rc,) = a.expect("disconnect")
            assert rc != 0, "closed as if we had asked for it"
            a.loop_stop()
            a = Peer(version, "dp-a")
            a.open()
        a.close()
    watcher.publish(foreign, b"own", 1)
    watcher.get(b"own")  # and nothing before it
    watcher.close()


def denied_publish_qos0(version):
    """Nobody can be told; nothing is delivered and the connection stays."""
    foreign = f"devices/{SETTINGS['other']}/q0"
    watcher = Peer(version, "dq-w")
    watcher.open(SETTINGS["other"], SETTINGS["other_password"])
    watcher.add(foreign, 0)
    a = Peer(version, "dq-a")
    a.open()
    a.publish(foreign, b"intruder", 0)
    a.add(topic("dq"), 1)
    a.publish(topic("dq"), b"still here", 1)
    a.get(b"still here")
    watcher.publish(foreign, b"own", 1)
    watcher.get(b"own")
    a.close()
    watcher.close()


def denied_subscribe(version):
    """A refused filter does not take the others of its packet with it."""
    a = Peer(version, "ds-a")
    a.open()
    failure = NOT_AUTHORIZED if version == mqtt.MQTTv5 else 0x80
    filters = ["#", f"devices/{SETTINGS['other']}/#", "+/#", "$SYS/#", "devices/+/x", topic("ds")]
    if version == mqtt.MQTTv5:
        a.subscribe([(f, SubscribeOptions(qos=1)) for f in filters])
    else:
        a.subscribe([(f, 1) for f in filters])
    (codes,) = a.expect("subscribe")
    assert codes == [failure] * 5 + [1], codes
    a.publish(topic("ds"), b"granted", 1)
    a.get(b"granted")
    a.close()


def denied_will(version):
    """A will where the client may not publish refuses the connection."""
    a = Peer(version, "dw-a")
    a.will_set(f"devices/{SETTINGS['other']}/w", b"gone", 1)
    try:
        a.open()
    except AssertionError as e:
        want = str(NOT_AUTHORIZED) if version == mqtt.MQTTv5 else "5"
        assert want in str(e), e
        a.loop_stop()
        return
    raise AssertionError("the connection was accepted")


def takeover(version):
    """The second connection gets the session, the first is told why in 5.0."""
    first = Peer(version, "to-same")
    first.open()
    second = Peer(version, "to-same")
    second.open()
    if version == mqtt.MQTTv5:
        assert first.expect("goodbye") == (TAKEN_OVER,)
    (rc,) = first.expect("disconnect")
    assert rc != 0, "closed as if we had asked for it"
    first.loop_stop()
    second.add(topic("to"), 1)
    second.publish(topic("to"), b"mine", 1)
    second.get(b"mine")
    second.close()


def same_id_other_user(version):
    """Knowing a client id is not enough: another user has another session."""
    a = Peer(version, "shared-name")
    a.open()
    a.add(topic("sn"), 1)
    b = Peer(version, "shared-name")
    b.open(SETTINGS["other"], SETTINGS["other_password"])
    a.publish(topic("sn"), b"undisturbed", 1)
    a.get(b"undisturbed")
    a.close()
    b.close()


def resume(version):
    """What was published while the client was away waits for it, in order."""
    expiry = 3600
    name = f"re-a-{int(version)}"
    a = Peer(version, name, clean=False)
    assert not a.open(expiry=expiry), "a session nobody made"
    a.add(topic("re"), 2)
    a.cut()
    p = Peer(version, "re-p")
    p.open()
    for i in range(20):
        p.publish(topic("re"), f"{i}".encode(), 1 + i % 2)
        p.expect("publish")
    b = Peer(version, name, clean=False)
    assert b.open(expiry=expiry), "the session is gone"
    # A QoS 2 message is handed over one exchange later, so each QoS is an order.
    came = {1: [], 2: []}
    for _ in range(20):
        (message,) = b.expect("message")
        came[message.qos].append(int(message.payload))
    assert came == {1: list(range(0, 20, 2)), 2: list(range(1, 20, 2))}, came
    b.close()
    c = Peer(version, name, clean=True)
    assert not c.open(), "a clean start kept the session"
    c.close()
    p.close()


def refused(version):
    """A wrong password and an unknown user get the same answer."""
    answers = []
    for user, password in ((SETTINGS["user"], "wrong"), ("nobody-at-all", "wrong")):
        a = Peer(version, "rf-a")
        try:
            a.open(user, password)
        except AssertionError as e:
            answers.append(str(e))
        a.loop_stop()
    assert len(answers) == 2 and answers[0] == answers[1], answers
    assert any(c in answers[0] for c in ("134", "135", "refused: 4", "refused: 5")), answers


CASES = [
    round_trip, retained, will, denied_publish, denied_publish_qos0, denied_subscribe,
    denied_will, takeover, same_id_other_user, resume, refused,
]


def main():
    for name, version in (("v311", mqtt.MQTTv311), ("v5", mqtt.MQTTv5)):
        for case in CASES:
            line = {"case": f"{name}/{case.__name__}", "ok": True, "detail": ""}
            try:
                case(version)
            except Exception:  # a case reports whatever stopped it
                line["ok"], line["detail"] = False, traceback.format_exc()
            print(json.dumps(line), flush=True)


if __name__ == "__main__":
    main()
