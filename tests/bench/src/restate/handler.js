// The write of the other contenders, as a handler of Restate: an object for each account.
const restate = require("@restatedev/restate-sdk");

const account = restate.object({
  name: "Account",
  handlers: {
    write: async (context, amount) => {
      const balance = ((await context.get("balance")) ?? 0) + amount;
      context.set("balance", balance);
      return { id: 7, balance };
    },
  },
});

restate.serve({ services: [account], port: Number(process.env.HANDLER_PORT) });
