{#- The operating system that a user agent names; the order counts, as in browser_family. -#}
{%- macro os_family(user_agent) -%}
    case
        {%- for pattern, family in [
            ('Tizen', 'Tizen'),
            ('Android', 'Android'),
            ('iPhone|iPad', 'iOS'),
            ('Windows', 'Windows'),
            ('Mac OS X', 'Mac OS X'),
            ('CrOS', 'Chrome OS'),
            ('Linux', 'Linux'),
        ] %}
        when {{ user_agent }} rlike '{{ pattern }}' then '{{ family }}'
        {%- endfor %}
        when {{ user_agent }} is not null then 'Other'
    end
{%- endmacro -%}
