"""Distillation as one would write it without a library: what the loop is compared with."""

import torch
from torch import nn
from torch.nn import functional as F

from limbeck.data.order import epoch_order


def plain_training(
    *,
    student,
    teacher,
    inputs,
    labels,
    loss,
    optimizer,
    schedule=None,
    epochs,
    batch_size,
    clip=None,
    after=None,
    seed=0,
):
    """Train and return the student. `loss(z, v, y, step)` is the mean over a batch's rows.

    `after(model)` is called after each step of the optimiser.
    """
    torch.manual_seed(seed)
    model = student()
    optimizer = optimizer(model.parameters())
    steps = -(-len(inputs) // batch_size) * epochs
    scheduler = None if schedule is None else schedule(optimizer, steps)
    step = 0
    for epoch in range(epochs):
        model.train()
        for rows in epoch_order(len(inputs), seed, epoch).split(batch_size):
            z = model(inputs[rows])
            with torch.no_grad():
                v = None if teacher is None else teacher(inputs[rows])
            y = None if labels is None else labels[rows]
            optimizer.zero_grad()
            loss(z, v, y, step).backward()
            if clip is not None:
                nn.utils.clip_grad_norm_(model.parameters(), clip)
            optimizer.step()
            if after is not None:
                after(model)
            if scheduler is not None:
                scheduler.step()
            step += 1
    return model


def soft_loss(z, v, temperature):
    """T² KL(teacher || student), mean over rows."""
    log_q, p = F.log_softmax(z / temperature, -1), F.softmax(v / temperature, -1)
    return temperature**2 * F.kl_div(log_q, p, reduction="batchmean")


def soft_loss_of_labels(z, v, temperature):
    """T² times the sum over independent labels of KL between two coins, mean over rows."""
    q, p = torch.sigmoid(z / temperature), torch.sigmoid(v / temperature)
    coins = p * (p / q).log() + (1 - p) * ((1 - p) / (1 - q)).log()
    return temperature**2 * coins.sum(-1).mean()


def hard_loss_of_labels(z, y):
    """Binary cross-entropy summed over independent labels, mean over rows."""
    return F.binary_cross_entropy_with_logits(z, y.to(z.dtype), reduction="none").sum(-1).mean()
