"""PyTorch's side of P8: eurosat.py THREADS plain|cached EPOCHS WEIGHTS DATA OUT

plain: the usual script, every epoch from pictures through the whole network.
cached: the body runs once for each picture.
"""
import json
import sys
import torch
from torch.utils.data import DataLoader, TensorDataset
from torchvision import datasets, models, transforms

threads, how, epochs, weights, data, out = int(sys.argv[1]), *sys.argv[2:]
EPOCHS, BATCH, RATE = int(epochs), 32, 1e-3
torch.manual_seed(0)
torch.set_num_threads(threads)
prepare = transforms.Compose([
    transforms.Resize(256), transforms.CenterCrop(224), transforms.ToTensor(),
    transforms.Normalize([0.485, 0.456, 0.406], [0.229, 0.224, 0.225]),
])
training = datasets.ImageFolder(f"{data}/train", prepare)
validation = datasets.ImageFolder(f"{data}/val", prepare)

net = models.squeezenet1_1()
net.load_state_dict(torch.load(weights))
for parameter in net.parameters():
    parameter.requires_grad = False
net.classifier[1] = torch.nn.Conv2d(512, len(training.classes), kernel_size=1)


def pictures(dataset, shuffle):
    return DataLoader(dataset, batch_size=BATCH, shuffle=shuffle, num_workers=threads)


def features(dataset):
    net.eval()
    with torch.no_grad():
        rows = [(net.features(x), y) for x, y in pictures(dataset, False)]
    return TensorDataset(torch.cat([x for x, _ in rows]), torch.cat([y for _, y in rows]))


if how == "cached":
    parts = (features(training), features(validation))
    train_loader, validation_loader = (DataLoader(p, BATCH, shuffle=p is parts[0]) for p in parts)
    forward = lambda x: net.classifier(x).flatten(1)
else:
    train_loader, validation_loader = pictures(training, True), pictures(validation, False)
    forward = net

optimizer = torch.optim.AdamW(net.classifier[1].parameters(), RATE, weight_decay=0.01)
schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, EPOCHS * len(train_loader))
for _ in range(EPOCHS):
    net.train()
    for x, y in train_loader:
        optimizer.zero_grad(set_to_none=True)
        torch.nn.functional.cross_entropy(forward(x), y).backward()
        optimizer.step()
        schedule.step()
    net.eval()
    with torch.no_grad():
        right = sum((forward(x).argmax(1) == y).sum().item() for x, y in validation_loader)
torch.save(net.state_dict(), out)
print(json.dumps({"accuracy": right / len(validation)}))
