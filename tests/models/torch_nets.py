"""A module of user code that builds torch networks."""

NETS = """
    import sys, warnings
    import torch

    print("importing")

    class Net(torch.nn.Module):
        def __init__(self):
            super().__init__()
            torch.manual_seed(0)
            self.conv = torch.nn.Conv2d(3, 4, 3)
            self.out = torch.nn.Linear(4, 4)
            self.drop = torch.nn.Dropout(0.9)
        def forward(self, image):
            warnings.warn("watch out")
            return self.drop(self.out(torch.relu(self.conv(image)).mean((2, 3))))

    class Two(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.table = torch.nn.Embedding(9, 4)
        def forward(self, ids, mask=None, scale=None):
            return {"one": self.table(ids) * scale, "two": ids + 1}

    class Rest(torch.nn.Module):
        def forward(self, *images):
            return images[0] + images[1], [images[0] * 2]

    class Fixed(torch.nn.Module):
        def forward(self, x):
            return x.reshape(1, -1) * 2

    class Broken(torch.nn.Module):
        def forward(self, x):
            raise KeyError("no such layer")

    class Unknown(torch.nn.Module):
        def forward(self, x):
            return torch.special.zeta(x, x + 2)

    class Loop(torch.nn.Module):
        def forward(self, x):
            total = torch.zeros_like(x[:, 0])
            for i in range(x.shape[1]):
                total = torch.tanh(total + x[:, i])
            return total

    class Narrow(torch.nn.Module):
        def __init__(self):
            super().__init__()
            torch.manual_seed(0)
            self.layers = torch.nn.Sequential(
                torch.nn.Linear(16, 32), torch.nn.ReLU(), torch.nn.Linear(32, 8)
            ).to(torch.bfloat16)
        def forward(self, x):
            return self.layers(x.to(torch.bfloat16)).float()

    class Autocast(torch.nn.Module):
        def __init__(self):
            super().__init__()
            torch.manual_seed(0)
            self.one, self.two = torch.nn.Linear(16, 32), torch.nn.Linear(32, 8)
        def forward(self, x):
            with torch.autocast("cpu", torch.bfloat16):
                return self.two(self.one(x).relu()).float()

    class DropAlways(torch.nn.Module):
        def forward(self, x):
            return torch.nn.functional.dropout(2 * x, 0.5, training=True), 3 * x

    class Noise(torch.nn.Module):
        def forward(self, x):
            return x + torch.randn_like(x)

    def loop(): return Loop(), torch.zeros(1, 10, 4)
    def narrow(): return Narrow(), torch.zeros(1, 16)
    def autocast(): return Autocast(), torch.zeros(1, 16)
    def dropout(): return DropAlways(), torch.zeros(1, 6)
    def noise(): return Noise(), torch.zeros(1, 6)
    class Steps(torch.nn.Module):
        def forward(self, x):
            total = torch.zeros_like(x[:, 0])
            for step in range(x.shape[1]):
                total = torch.tanh(total + x[:, step])
            return total

    def net(): return Net()
    def steps(): return Steps(), torch.ones(1, 3, 4)
    def with_example(): return Net(), torch.zeros(1, 3, 8, 8)
    def two():
        ids = torch.zeros(1, 5, dtype=torch.int64)
        return Two(), {"scale": torch.ones(1, 5, 4), "ids": ids}
    def rest(): return Rest(), (torch.zeros(1, 6), torch.zeros(1, 6))
    def optimized(): return torch.compile(Net()), torch.zeros(1, 3, 8, 8)
    def fixed(): return Fixed(), torch.zeros(1, 2, 3)
    def broken(): return Broken(), torch.zeros(1, 3)
    def unknown(): return Unknown(), torch.zeros(1, 3)
    def raises(): raise ValueError("boom\\nand more")
    def leaves(): sys.exit(3)
    def number(): return 5
    def odd(): return Net(), "an example"
    def needs():
        import a_package_that_is_not_there
    constant = 3
"""
