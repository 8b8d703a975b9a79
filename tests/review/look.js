// What tests of the look ask the page: each function returns what is wrong, nothing if all is well.
({
  // Texts whose contrast with what lies below them is less than WCAG AA asks for: 4.5, and 3 for large ones.
  contrast: () => {
    const canvas = new OffscreenCanvas(1, 1).getContext('2d', { willReadFrequently: true });
    const rgba = (colour) => {
      canvas.clearRect(0, 0, 1, 1); canvas.fillStyle = colour; canvas.fillRect(0, 0, 1, 1);
      const [r, g, b, a] = canvas.getImageData(0, 0, 1, 1).data;
      return [r, g, b, a / 255];
    };
    const over = (top, under) => [0, 1, 2].map((i) => top[i] * top[3] + under[i] * (1 - top[3]));
    const light = (colour) => {
      const [r, g, b] = colour.map((v) => v / 255).map((v) => (v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4));
      return 0.2126 * r + 0.7152 * g + 0.0722 * b;
    };
    const below = (element) => {
      const layers = [];
      for (let one = element; one; one = one.parentElement) layers.push(rgba(getComputedStyle(one).backgroundColor));
      return layers.reverse().reduce((under, top) => over(top, under), [255, 255, 255]);
    };
    const found = [];
    const texts = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
    while (texts.nextNode()) {
      const text = texts.currentNode.textContent.trim();
      const element = texts.currentNode.parentElement;
      const style = getComputedStyle(element);
      if (!text || !element.checkVisibility({ visibilityProperty: true })) continue;
      if (element.closest('.unseen, script, option, [aria-hidden=true], :disabled, .skip')) continue;
      const ground = below(element);
      const [a, b] = [light(over(rgba(style.color), ground)), light(ground)].sort((x, y) => y - x);
      const isLarge = parseFloat(style.fontSize) >= 24 || (parseFloat(style.fontSize) >= 18.66 && style.fontWeight >= 700);
      if ((a + 0.05) / (b + 0.05) < (isLarge ? 3 : 4.5)) found.push([text.slice(0, 40), ((a + 0.05) / (b + 0.05)).toFixed(2)]);
    }
    return found;
  },

  // What a screen reader could not tell: controls and pictures without a name, roles without what belongs to them.
  nameless: () => {
    const shown = (one) => one.checkVisibility({ visibilityProperty: true });
    const nameOf = (one) => (one.getAttribute('aria-label') || one.labels?.[0]?.textContent || one.textContent || one.title || '').trim()
      || [...(one.getAttribute('aria-labelledby') || '').split(' ')].map((id) => document.getElementById(id)?.textContent || '').join('');
    const found = [];
    for (const one of document.querySelectorAll('button, input, select, textarea, a, [role=listbox], [role=option], [role=radiogroup], [role=radio], [role=img], dialog, section, progress'))
      if (shown(one) && !nameOf(one)) found.push(one.outerHTML.slice(0, 120));
    for (const one of document.querySelectorAll('img')) if (!one.hasAttribute('alt')) found.push(one.outerHTML.slice(0, 120));
    for (const one of document.querySelectorAll('[role=option]'))
      if (shown(one) && !(one.parentElement.closest('[role=listbox]') && one.hasAttribute('aria-selected'))) found.push(one.outerHTML.slice(0, 120));
    for (const one of document.querySelectorAll('th')) if (!one.hasAttribute('scope')) found.push(one.outerHTML.slice(0, 120));
    const ids = [...document.querySelectorAll('[id]')].map((one) => one.id);
    found.push(...ids.filter((id, place) => ids.indexOf(id) !== place).map((id) => `two elements are called ${id}`));
    for (const one of document.querySelectorAll('[aria-controls], [aria-activedescendant], [list]'))
      for (const name of ['aria-controls', 'aria-activedescendant', 'list'])
        if (one.hasAttribute(name) && !document.getElementById(one.getAttribute(name))) found.push(`${name} leads nowhere: ${one.getAttribute(name)}`);
    return found;
  },

  // What has the focus: a name that no other element has, and whether one can see that it has it. Null: nothing has.
  focused: () => {
    const one = document.activeElement;
    if (!one || one === document.body) return null;
    const style = getComputedStyle(one.closest('.search') && one.matches('input') ? one.closest('.search') : one);
    const name = one.id || one.className + (one.dataset.mode || '') + (one.getAttribute('aria-label') || one.textContent);
    return { name, visible: (style.outlineStyle !== 'none' && parseFloat(style.outlineWidth) >= 2) || style.boxShadow !== 'none' };
  },

  // All controls on the screen that Tab should reach, by the names of `focused`; of radios one is enough.
  controls: () => [...document.querySelectorAll('button, input, select, a[href], [tabindex="0"]')]
    .filter((one) => one.checkVisibility({ visibilityProperty: true }) && !one.disabled && one.tabIndex >= 0 && getComputedStyle(one).opacity !== '0')
    .map((one) => one.id || one.className + (one.dataset.mode || '') + (one.getAttribute('aria-label') || one.textContent)),

  // Parts that stick out of the screen, texts that are cut without a sign of it, and controls that lie over each other.
  crowded: () => {
    const shown = (one) => one.checkVisibility({ visibilityProperty: true });
    const found = [];
    if (document.documentElement.scrollWidth > innerWidth) found.push(`the page is ${document.documentElement.scrollWidth} wide`);
    for (const one of document.querySelectorAll('button, p, h1, h2, h3, td, th, label, .row span, .caption span')) {
      const style = getComputedStyle(one);
      const scrolls = one.closest('#kinds, #strip, .details, .unseen, .skip');
      if (!shown(one) || style.textOverflow === 'ellipsis' || scrolls || one.closest('.unseen')) continue;
      const box = one.getBoundingClientRect();
      if (box.right > innerWidth + 1 || box.left < -1) found.push(`sticks out: ${one.className || one.id || one.tagName} ${one.textContent.slice(0, 30)}`);
      if (one.scrollWidth > one.clientWidth + 1 && style.overflowX !== 'visible' && style.display !== 'inline') found.push(`cut: ${one.textContent.slice(0, 40)}`);
    }
    const controls = [...document.querySelectorAll('header button, .title button, .decide button, .decide p, .search-row > *, .sort-row > *, #kinds button, .what, .progress, #toast')].filter(shown);
    for (const one of document.querySelectorAll('header button, .decide button'))
      if (shown(one) && (one.getBoundingClientRect().right > innerWidth || one.getBoundingClientRect().bottom > innerHeight)) found.push(`outside: ${one.id}`);
    const boxes = controls.map((one) => [one, one.getBoundingClientRect()]);
    boxes.forEach(([one, a], i) => boxes.slice(i + 1).forEach(([other, b]) => {
      if (one.contains(other) || other.contains(one) || one.closest('#kinds') && innerWidth < 760) return;
      if (Math.min(a.right, b.right) - Math.max(a.left, b.left) > 1 && Math.min(a.bottom, b.bottom) - Math.max(a.top, b.top) > 1)
        found.push(`${one.id || one.className} lies over ${other.id || other.className}`);
    }));
    return found;
  },

  // Controls that no scrolling brings into sight, and a list in which no two groups are seen.
  unreachable: () => {
    const shown = (one) => one.checkVisibility({ visibilityProperty: true });
    const found = [];
    for (const one of document.querySelectorAll('button, input:not(.slider), select, .details')) {
      if (!shown(one) || one.closest('#list')) continue;
      one.scrollIntoView({ block: 'nearest', inline: 'nearest' });
      const box = one.getBoundingClientRect();
      const [x, y] = [(box.left + box.right) / 2, (Math.max(box.top, 0) + Math.min(box.bottom, innerHeight)) / 2];
      const top = document.elementFromPoint(x, y);
      if (!top || !(one.contains(top) || top.contains(one) || top.closest('label')?.contains(one))) found.push(one.id || one.className);
    }
    const list = document.getElementById('list');
    if (shown(list) && list.clientHeight < 2 * 76) found.push(`the list is ${list.clientHeight} high`);
    for (const one of document.querySelectorAll('#list-side, #group')) one.scrollTop = 0;
    return found;
  },

  parts: () => Object.fromEntries(['#stage', '#strip', '.details', '.decide', '#accept', '#keep-this', '#take-out', '#apart', '.captions', '.modes', '#zoom', '#next']
    .map((part) => { const box = document.querySelector(part).getBoundingClientRect(); return [part, [box.left, box.top, box.width, box.height].map(Math.round)]; })),
});
