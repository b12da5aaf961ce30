"""A client of GSSAPI, of MIT's library: reads one request a line, answers one line.

token CCACHE SERVICE FLAGS   begins a context; answers its first token
reply TOKEN                  takes the acceptor's token; answers the next one
layer TOKEN HEX              unwraps TOKEN, answers it in hex and HEX wrapped
"""
import base64, sys
import gssapi

ctx = None
for line in sys.stdin:
    what, *args = line.split()
    try:
        if what == "token":
            store = {b"ccache": args[0].encode()}
            creds = gssapi.Credentials(usage="initiate", store=store)
            name = gssapi.Name(args[1], gssapi.NameType.kerberos_principal)
            flags = [f for f in gssapi.RequirementFlag if int(args[2]) & int(f)]
            ctx = gssapi.SecurityContext(name=name, creds=creds, flags=flags, mech=gssapi.MechType.kerberos, usage="initiate")
            out = base64.b64encode(ctx.step()).decode()
        elif what == "reply":
            answer = ctx.step(base64.b64decode(args[0]))
            out = "%s %s" % (ctx.complete, base64.b64encode(answer or b"").decode())
        else:
            said = ctx.unwrap(base64.b64decode(args[0])).message.hex()
            out = said + " " + base64.b64encode(ctx.wrap(bytes.fromhex(args[1]), False).message).decode()
        print("ok", out, flush=True)
    except Exception as e:
        print("error", type(e).__name__, str(e).replace("\n", " "), flush=True)
